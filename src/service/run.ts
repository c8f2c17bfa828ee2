/**
 * `run`: the service. Events only say "look again", a timer says the same; every look reads the whole truth and puts into force
 * what differs. Whatever cannot be read leaves everything as it is.
 */
import type { Context } from '../commands/context.ts'
import { sourcesOf } from '../commands/context.ts'
import { explainFailure } from '../commands/failure.ts'
import { apply, NotInForce, type Applied } from '../node/apply.ts'
import { chooseBackend, otherBackend, type Backend } from '../node/backend.ts'
import { realKernel } from '../node/kernel.ts'
import type { Looked, Paths } from '../node/look.ts'
import { monitorNetwork, type Monitor } from '../node/monitor.ts'
import { planRollback, rollbackKernel } from '../node/rollback.ts'
import { restoreSaved, saveInForce } from '../node/saved.ts'
import { steadyLook } from '../node/steady.ts'
import { writePid } from '../node/unit.ts'
import { findWriter } from '../node/writer.ts'
import type { Sighting } from '../guest/learnt.ts'
import type { StaleFile, Tree } from '../read.ts'
import { isEmpty, type Plan } from '../ruleset/plan.ts'
import { wantedSysctls } from '../sysctls.ts'
import { locate, type Located } from '../show/diagnostics.ts'
import { watchKernel } from './drift.ts'
import { makeFight, type Fight } from './fight.ts'
import { fingerprint, isDrifted, keepInForce, type Kept } from './kept.ts'
import { makeJournal, sayDiagnostics, type Journal } from './journal.ts'
import { makeNotify } from './notify.ts'
import { makePublisher, type Publisher } from './publish.ts'
import { makeQuarantine, type Quarantine } from './quarantine.ts'
import { makeTroubles, type Troubles } from './troubles.ts'
import { makeWakeup } from './wakeup.ts'
import { watchFiles } from './watch.ts'

/** A guest that is missing from .vmlist may be between two nodes; only after this long it counts as gone. */
const CONFIRM_MS = 500

/** Between a hint and the look: long enough for the two steps of a save by rename. */
const SETTLE_MS = 20

/** Who fights us writes again within this time. */
const WRITER_MS = 2000

/** While something keeps the service from working it looks more often: /etc/pve may be mounted any moment. */
const DEGRADED_MS = 1000

/** What the service remembers from look to look. */
interface Memory {
  degraded: string
  diagnostics: Map<string, Located>
  /** The tree that is in force. */
  tree: Tree | undefined
  /** What was seen of the guests' addresses. */
  sightings: readonly Sighting[]
  quarantine: Quarantine
  /** Whether flows that go an old way are still to be ended. */
  flowsDue: boolean
  /** Guests that are missing from .vmlist, and since when (milliseconds). */
  missing: Map<number, number>
  /** Files that could not be read at the last look, and why. */
  stale: Map<string, string>
  backend: Backend | undefined
  /** Watches the kernel by way of that backend. */
  drift: Monitor | undefined
  intervalMs: number
  /** What is to be in force, and the kernel that it was given to. */
  kept: Kept | undefined
  fight: Fight
  troubles: Troubles
  publisher: Publisher
}

export async function runCommand({ io, paths }: Context): Promise<number> {
  const journal = makeJournal(io.stdout, process.env.JOURNAL_STREAM !== undefined)
  const wakeup = makeWakeup()
  let stopping = false
  const stop = (): void => {
    stopping = true
    wakeup.call()
  }
  await writePid(paths.runDir)
  const watch = watchFiles(paths, wakeup.call)
  const monitor = monitorNetwork(wakeup.call)
  const notify = makeNotify(process.env)
  const memory: Memory = {
    ...{
      degraded: '',
      diagnostics: new Map(),
      tree: undefined,
      sightings: [],
      quarantine: makeQuarantine(() => performance.now()),
      flowsDue: true,
      stale: new Map(),
      missing: new Map(),
    },
    ...{
      backend: undefined,
      drift: undefined,
      intervalMs: 5000,
      kept: undefined,
      fight: makeFight(() => performance.now()),
      troubles: makeTroubles(journal),
      publisher: makePublisher(paths, journal.warning),
    },
  }
  const reload = (): void => {
    memory.quarantine.release()
    wakeup.call()
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload)
  while (!stopping) {
    await lookOnce(paths, memory, journal, wakeup.call)
    notify(shortStatus(memory))
    await wakeup.sleep(pauseMs(memory), SETTLE_MS)
  }
  monitor.close()
  memory.drift?.close()
  await watch.close()
  await memory.publisher.close()
  journal.info('stopped; what is in force stays')
  return 0
}

function shortStatus({ degraded, diagnostics }: Memory): string {
  if (degraded !== '') return degraded
  return diagnostics.size === 0 ? 'in step' : `in step; ${diagnostics.size} to look at: pvenat check`
}

function pauseMs({ missing, degraded, intervalMs }: Memory): number {
  if (missing.size > 0) return CONFIRM_MS
  return degraded === '' ? intervalMs : Math.min(DEGRADED_MS, intervalMs)
}

async function lookOnce(paths: Paths, memory: Memory, journal: Journal, hint: () => void): Promise<void> {
  try {
    const looked = {
      ...(await steadyLook(paths, memory.tree)),
      remembered: memory.sightings,
      quarantined: memory.quarantine.rules(),
    }
    memory.intervalMs = looked.settings.intervalSeconds * 1000
    if (isUnconfirmed(looked, memory)) return
    await applyLook(looked, paths, memory, journal, hint)
    memory.tree = looked.tree
    if (memory.degraded !== '') journal.info(`in step again, after: ${memory.degraded}`)
    memory.degraded = ''
    memory.troubles.settle(true)
  } catch (error) {
    sayFailure(error, memory, journal)
    memory.troubles.settle(false)
    await keepLast(memory, paths, journal).catch(() => undefined)
  }
}

/** While the files cannot be read, what they asked for last is still to be in force. */
async function keepLast(memory: Memory, { stateDir }: Paths, journal: Journal): Promise<void> {
  const { kept, publisher } = memory
  if (!kept) {
    const restored = await restoreSaved(stateDir, journal.warning)
    if (restored === 'restored') journal.info('put back what was in force last')
    return
  }
  const plan = await keepInForce(kept)
  if (isEmpty(plan)) return
  journal.info(`repaired what somebody else changed: ${describe(plan)}`)
  noteRepair(plan, memory, journal)
  publisher.putBack(plan)
}

function sayFailure(error: unknown, memory: Memory, journal: Journal): void {
  const reason = explainFailure(error)
    .replace(/^pvenat: /, '')
    .trimEnd()
  if (!isSameTrouble(reason, memory.degraded)) journal.error(reason)
  memory.degraded = reason
  memory.publisher.failed(reason)
  if (error instanceof NotInForce) noteRepair(error.left, memory, journal)
}

/** What a system has no more of strikes now here, now there. */
const SCARCE = /\b(EMFILE|ENFILE|ENOMEM|EAGAIN)\b/

function isSameTrouble(one: string, other: string): boolean {
  const [scarce] = SCARCE.exec(one) ?? []
  return one === other || (scarce !== undefined && scarce === SCARCE.exec(other)?.[0])
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
  const kernel = realKernel(backend, warn)
  const due = { flows: memory.flowsDue, quarantined: memory.quarantine.isDue() }
  memory.flowsDue = true // unless this pass comes to its end
  const start = performance.now()
  const applied = await apply(looked, kernel, paths.stateDir, warn, due)
  memory.flowsDue = applied.flowsDue
  const tookMs = performance.now() - start
  if (backend !== memory.backend) {
    await sweepOther(backend, warn, journal)
    memory.drift?.close()
    memory.drift = watchKernel(
      backend,
      async () => memory.kept !== undefined && (await isDrifted(memory.kept)),
      () => memory.fight.later(hint),
    )
    memory.backend = backend
  }
  const { ruleset } = applied.outcome
  const before = memory.kept?.fingerprint
  const sysctls = wantedSysctls(
    ruleset,
    looked.network.external.map(({ name }) => name),
  )
  memory.kept = {
    kernel,
    ruleset,
    sysctls: new Map([...sysctls].filter(([path]) => !path.endsWith('/accept_ra'))),
    fingerprint: fingerprint(ruleset),
  }
  const isRepair = before === memory.kept.fingerprint
  if (!isRepair)
    await saveInForce(paths.stateDir, backend, ruleset, sysctls).catch((error: Error) =>
      journal.warning(`cannot save what is in force for the next boot: ${error.message}`),
    )
  sayApplied(applied, isRepair, memory, journal)
  sayStale(looked.tree.stale ?? [], memory, journal)
  memory.quarantine.note(applied.quarantined)
  memory.sightings = applied.outcome.view.sightings
  const all = [...looked.settingsDiagnostics, ...applied.outcome.translation.diagnostics]
  const sources = sourcesOf(looked)
  const located = locate(all, sources, paths.pveDir)
  memory.diagnostics = sayDiagnostics(journal, memory.diagnostics, located)
  const degraded = [...memory.stale.values()].join('; ')
  memory.publisher.passed({ applied, backend, located, sources, degraded, tookMs, isRepair })
}

function sayApplied(
  { plan, sysctls, endedFlows }: Applied,
  isRepair: boolean,
  memory: Memory,
  journal: Journal,
): void {
  for (const path of sysctls) journal.info(`switched on ${path.replaceAll('/', '.')}`)
  if (endedFlows > 0) journal.info(`ended ${endedFlows} flows that went an old way`)
  if (isEmpty(plan)) return
  journal.info(`${isRepair ? 'repaired what somebody else changed' : 'in force'}: ${describe(plan)}`)
  if (isRepair) noteRepair(plan, memory, journal)
}

function noteRepair({ changes }: Plan, { fight, backend }: Memory, journal: Journal): void {
  const what = changes.map(named).join(', ')
  if (!fight.repaired(what)) return
  void findWriter(backend ?? 'legacy', WRITER_MS).then((writer) =>
    journal.warning(
      `another program${writer === undefined ? '' : ` (${writer})`} keeps changing ${what}; it is repaired less and less often`,
    ),
  )
}

function named({ kind, what }: Plan['changes'][number]): string {
  return kind === 'hook' ? `the hook of ${what}` : what
}

function describe({ changes }: Plan): string {
  return changes.map(({ kind, what }) => `${kind} ${what}`).join(', ')
}

/** Files that cannot be read, of which the last good text stands: once when it comes, once when it is over. */
function sayStale(stale: readonly StaleFile[], memory: Memory, journal: Journal): void {
  const now = new Map(stale.map(({ file, reason }) => [file, reason]))
  for (const [file, reason] of now) {
    if (memory.stale.get(file) !== reason) journal.error(`${reason}; what it said before stays in force`)
  }
  for (const file of memory.stale.keys()) if (!now.has(file)) journal.info(`${file} can be read again`)
  memory.stale = now
}

/** What an earlier run left in the other backend would act a second time; it goes when ours is in force. */
async function sweepOther(
  backend: Backend,
  warn: (message: string) => void,
  journal: Journal,
): Promise<void> {
  const leftovers = (await planRollback(backend, () => undefined)).filter(
    (one) => one.backend === otherBackend(backend) && one.plan.tables[4] + one.plan.tables[6] !== '',
  )
  await rollbackKernel(
    leftovers.map((one) => ({ ...one, plan: { ...one.plan, staleSets: [] } })),
    warn,
  )
  for (const one of leftovers) journal.info(`removed leftovers of the ${one.backend} backend`)
}
