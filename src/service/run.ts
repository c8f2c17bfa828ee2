/**
 * `run`: the service. Events only say "look again", a timer says the same; every look reads the whole truth and puts into force
 * what differs. Whatever cannot be read leaves everything as it is.
 */
import { apply, NotInForce } from '../node/apply.ts'
import { chooseBackend, type Backend } from '../node/backend.ts'
import { realKernel } from '../node/kernel.ts'
import type { Io } from '../io.ts'
import { sourcesOf, type Looked, type Paths } from '../node/look.ts'
import { monitorNetwork } from '../node/monitor.ts'
import { recall } from '../node/recall.ts'
import { restoreSaved, saveInForce } from '../node/saved.ts'
import { makeSenses, type Senses } from '../node/senses.ts'
import { steadyLook } from '../node/steady.ts'
import { writePid } from '../node/unit.ts'
import type { Sighting } from '../guest/learnt.ts'
import { makeMemo, type Memo } from '../memo.ts'
import type { Tree } from '../read.ts'
import type { InForce } from '../ruleset/inforce.ts'
import { isEmpty } from '../ruleset/plan.ts'
import { wantedSysctls } from '../sysctls.ts'
import { locate } from '../show/diagnostics.ts'
import { watchKernel, type Drift } from './drift.ts'
import { makeFight, type Fight } from './fight.ts'
import { areRulesDrifted, fingerprint, isRestDrifted, keepInForce, type Kept } from './kept.ts'
import { makeJournal, type Journal } from './journal.ts'
import { makeNotify } from './notify.ts'
import { makePublisher, readList, type Publisher } from './publish.ts'
import { makeQuarantine, type Quarantine } from './quarantine.ts'
import { makeRest } from './rest.ts'
import { sweepOther } from './sweep.ts'
import { makeTroubles, type Troubles } from './troubles.ts'
import { makeVoice, type Voice } from './voice.ts'
import { makeWakeup } from './wakeup.ts'
import { watchFiles } from './watch.ts'

/** A guest that is missing from .vmlist may be between two nodes; only after this long it counts as gone. */
const CONFIRM_MS = 500

/** Between a hint and the look: long enough for the two steps of a save by rename. */
const SETTLE_MS = 20

/** While something keeps the service from working it looks more often: /etc/pve may be mounted any moment. */
const DEGRADED_MS = 1000

/** What the service remembers from look to look. */
interface Memory {
  /** What need not be asked, or worked out, again. */
  senses: Senses
  memo: Memo
  /** The tree that is in force. */
  tree: Tree | undefined
  /** What was seen of the guests' addresses. */
  sightings: readonly Sighting[]
  quarantine: Quarantine
  /** Whether flows that go an old way are still to be ended. */
  flowsDue: boolean
  /** Guests that are missing from .vmlist, and since when (milliseconds). */
  missing: Map<number, number>
  backend: Backend | undefined
  /** Watches the kernel by way of that backend. */
  drift: Drift | undefined
  intervalMs: number
  /** What is to be in force, and the kernel that it was given to. */
  kept: Kept | undefined
  fight: Fight
  rest: () => void
  troubles: Troubles
  voice: Voice
  publisher: Publisher
}

export async function runCommand({ io, paths }: { io: Io; paths: Paths }): Promise<number> {
  const journal = makeJournal(io.stdout, process.env.JOURNAL_STREAM !== undefined)
  const wakeup = makeWakeup()
  let stopping = false
  const stop = (): void => {
    stopping = true
    wakeup.call()
  }
  await writePid(paths.runDir)
  const watch = watchFiles(paths, wakeup.call)
  const notify = makeNotify(process.env)
  const fight = makeFight(() => performance.now())
  const memory: Memory = {
    ...{
      senses: makeSenses(),
      memo: makeMemo(),
      tree: undefined,
      sightings: (await recall(paths.runDir)).remembered,
      quarantine: makeQuarantine(() => performance.now()),
      flowsDue: true,
      missing: new Map(),
    },
    ...{
      backend: undefined,
      drift: undefined,
      intervalMs: 5000,
      kept: undefined,
      fight,
      rest: makeRest(),
      troubles: makeTroubles(journal),
      voice: makeVoice(journal, fight, () => memory.backend ?? 'legacy'),
      publisher: makePublisher(paths, await readList(paths.runDir), journal.warning),
    },
  }
  const monitor = monitorNetwork(() => {
    memory.senses.forget()
    memory.drift?.touch()
    wakeup.call()
  })
  const reload = (): void => {
    memory.quarantine.release()
    wakeup.call()
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload)
  while (!stopping) {
    await lookOnce(paths, memory, journal, wakeup.call)
    notify(memory.voice.summary())
    await wakeup.sleep(pauseMs(memory), SETTLE_MS)
  }
  monitor.close()
  memory.drift?.close()
  await watch.close()
  await memory.publisher.close()
  journal.info('stopped; what is in force stays')
  return 0
}

function pauseMs({ missing, voice, intervalMs }: Memory): number {
  if (missing.size > 0) return CONFIRM_MS
  return voice.degraded() === '' ? intervalMs : Math.min(DEGRADED_MS, intervalMs)
}

async function lookOnce(paths: Paths, memory: Memory, journal: Journal, hint: () => void): Promise<void> {
  try {
    const looked = {
      ...(await steadyLook(paths, memory.tree, memory.senses)),
      remembered: memory.sightings,
      quarantined: memory.quarantine.rules(),
    }
    memory.intervalMs = looked.settings.intervalSeconds * 1000
    if (isUnconfirmed(looked, memory)) return
    await passing(memory.drift, () => applyLook(looked, paths, memory, journal, hint))
    memory.tree = looked.tree
    memory.troubles.settle(true)
  } catch (error) {
    memory.publisher.failed(memory.voice.failed(error))
    if (error instanceof NotInForce) memory.voice.repaired(error.left)
    memory.troubles.settle(false)
    await keepLast(memory, paths, journal).catch(() => undefined)
  }
}

/** While the files cannot be read, what they asked for last is still to be in force. */
async function keepLast(memory: Memory, { stateDir }: Paths, journal: Journal): Promise<void> {
  const { kept, drift, voice, publisher } = memory
  if (!kept) {
    const restored = await restoreSaved(stateDir, journal.warning)
    if (restored === 'restored') journal.info('put back what was in force last')
    return
  }
  if (drift?.isSure()) return
  const plan = await passing(drift, () => keepInForce(kept))
  if (isEmpty(plan)) return
  voice.putBack(plan)
  publisher.putBack(plan)
}

/** A pass, during which nobody takes what it changes for a change by others. */
async function passing<T>(drift: Drift | undefined, pass: () => Promise<T>): Promise<T> {
  const passed = drift?.passing()
  let isRight = false
  try {
    const result = await pass()
    isRight = true
    return result
  } finally {
    passed?.(isRight)
  }
}

/** Whether a guest of ours has only just vanished from .vmlist: migration drops it and adds it again in two steps. */
function isUnconfirmed({ tree }: Looked, memory: Memory): boolean {
  const now = Date.now()
  const before = memory.tree?.guests.map(({ vmid }) => vmid) ?? []
  const missing = before.filter((vmid) => !tree.owners.has(vmid))
  memory.missing = new Map(missing.map((vmid) => [vmid, memory.missing.get(vmid) ?? now]))
  return [...memory.missing.values()].some((since) => now - since < CONFIRM_MS)
}

async function applyLook(
  looked: Looked,
  paths: Paths,
  memory: Memory,
  journal: Journal,
  hint: () => void,
): Promise<void> {
  const backend = await chooseBackend(looked.settings)
  const { warn } = memory.troubles
  const real = realKernel(backend, warn)
  const read = (): Promise<InForce> => {
    memory.drift?.reading()
    return real.read()
  }
  const kernel = { ...real, read }
  const due = { flows: memory.flowsDue, quarantined: memory.quarantine.isDue() }
  memory.flowsDue = true // unless this pass comes to its end
  const start = performance.now()
  const standing = memory.backend === backend && memory.drift?.isSure() ? memory.kept : undefined
  const spared = { memo: memory.memo, standing, before: memory.kept?.ruleset }
  const applied = await apply(looked, kernel, paths.stateDir, warn, due, spared)
  memory.flowsDue = applied.flowsDue
  const tookMs = performance.now() - start
  if (backend !== memory.backend) {
    await sweepOther(backend, warn, journal)
    memory.drift?.close()
    memory.drift = watchKernel(
      backend,
      {
        areRulesDrifted: async () => memory.kept !== undefined && (await areRulesDrifted(memory.kept)),
        isRestDrifted: async () => memory.kept !== undefined && (await isRestDrifted(memory.kept)),
      },
      () => memory.fight.later(hint),
    )
    memory.backend = backend
  }
  const { ruleset } = applied.outcome
  const before = memory.kept
  const isSame = before?.ruleset === ruleset
  const sysctls = wantedSysctls(
    ruleset,
    looked.network.external.map(({ name }) => name),
  )
  memory.kept = {
    kernel,
    ruleset,
    sysctls: new Map([...sysctls].filter(([path]) => !path.endsWith('/accept_ra'))),
    fingerprint: isSame ? before.fingerprint : fingerprint(ruleset),
    inForce: applied.readBack,
    glanced: isSame ? before.glanced : undefined,
  }
  const isRepair = before?.fingerprint === memory.kept.fingerprint
  if (!isRepair)
    await saveInForce(paths.stateDir, backend, ruleset, sysctls).catch((error: Error) =>
      journal.warning(`cannot save what is in force for the next boot: ${error.message}`),
    )
  if (!isSame) memory.rest()
  memory.quarantine.note(applied.quarantined)
  memory.sightings = applied.outcome.view.sightings
  const sources = sourcesOf(looked)
  const all = [...looked.settingsDiagnostics, ...applied.outcome.translation.diagnostics]
  const located = locate(all, sources, paths.pveDir)
  const stale = looked.tree.stale ?? []
  const pass = { applied, backend, located, sources, stale, tookMs, isRepair }
  memory.voice.applied(applied, memory.publisher.passed(pass), isRepair, tookMs)
  memory.voice.passed(located, stale)
}
