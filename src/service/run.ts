/**
 * `run`: the service. Events only say "look again", a timer says the same; every look reads the whole truth and puts into force
 * what differs. Whatever cannot be read leaves everything as it is.
 */
import type { Context } from '../commands/context.ts'
import { sourcesOf } from '../commands/context.ts'
import { explainFailure } from '../commands/failure.ts'
import { apply } from '../node/apply.ts'
import { currentBackend, otherBackend, realKernel, type Backend } from '../node/kernel.ts'
import type { Looked, Paths } from '../node/look.ts'
import { monitorNetwork } from '../node/monitor.ts'
import { planRollback, rollbackKernel } from '../node/rollback.ts'
import { steadyLook } from '../node/steady.ts'
import { writePid } from '../node/unit.ts'
import type { Sighting } from '../guest/learnt.ts'
import type { Tree } from '../read.ts'
import { isEmpty } from '../ruleset/plan.ts'
import { locate, type Located } from '../show/diagnostics.ts'
import { makeJournal, sayDiagnostics, type Journal } from './journal.ts'
import { makeWakeup } from './wakeup.ts'
import { watchFiles } from './watch.ts'

/** Long enough for the two steps of a save by rename, short enough for nobody to notice. */
const SETTLE_MS = 20
/** A guest that is missing from .vmlist may be between two nodes; only after this long it counts as gone. */
const CONFIRM_MS = 500

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
  /** Ids of NAT rules that the kernel refuses. */
  quarantined: ReadonlySet<string>
  /** Guests that are missing from .vmlist, and since when (milliseconds). */
  missing: Map<number, number>
  backend: Backend | undefined
  intervalMs: number
}

export async function runCommand({ io, paths }: Context): Promise<number> {
  const journal = makeJournal(io.stdout, process.env.JOURNAL_STREAM !== undefined)
  const wakeup = makeWakeup()
  let stopping = false
  const stop = (): void => {
    stopping = true
    wakeup.call()
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', wakeup.call)
  await writePid(paths.runDir)
  const watch = watchFiles(paths, wakeup.call)
  const monitor = monitorNetwork(wakeup.call)
  const memory: Memory = {
    ...{
      degraded: '',
      diagnostics: new Map(),
      tree: undefined,
      sightings: [],
      quarantined: new Set(),
      missing: new Map(),
    },
    ...{ backend: undefined, intervalMs: 5000 },
  }
  while (!stopping) {
    await lookOnce(paths, memory, journal)
    await wakeup.sleep(pauseMs(memory), SETTLE_MS)
  }
  monitor.close()
  await watch.close()
  journal.info('stopped; what is in force stays')
  return 0
}

function pauseMs({ missing, degraded, intervalMs }: Memory): number {
  if (missing.size > 0) return CONFIRM_MS
  return degraded === '' ? intervalMs : Math.min(DEGRADED_MS, intervalMs)
}

async function lookOnce(paths: Paths, memory: Memory, journal: Journal): Promise<void> {
  try {
    const looked = {
      ...(await steadyLook(paths, memory.tree)),
      remembered: memory.sightings,
      quarantined: memory.quarantined,
    }
    memory.intervalMs = looked.settings.intervalSeconds * 1000
    if (isUnconfirmed(looked, memory)) return
    await applyLook(looked, paths, memory, journal)
    memory.tree = looked.tree
    if (memory.degraded !== '') journal.info(`in step again, after: ${memory.degraded}`)
    memory.degraded = ''
  } catch (error) {
    const reason = explainFailure(error)
      .replace(/^pvenat: /, '')
      .trimEnd()
    if (reason !== memory.degraded) journal.error(reason)
    memory.degraded = reason
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

async function applyLook(looked: Looked, paths: Paths, memory: Memory, journal: Journal): Promise<void> {
  const backend = looked.settings.backend === 'auto' ? await currentBackend() : looked.settings.backend
  const kernel = realKernel(backend, journal.warning)
  const applied = await apply(looked, kernel, paths.stateDir, journal.warning)
  const { outcome, plan, sysctls, endedFlows, quarantined } = applied
  memory.quarantined = quarantined
  if (endedFlows > 0) journal.info(`ended ${endedFlows} flows that went an old way`)
  if (!isEmpty(plan))
    journal.info(`in force: ${plan.changes.map(({ kind, what }) => `${kind} ${what}`).join(', ')}`)
  for (const path of sysctls) journal.info(`switched on ${path.replaceAll('/', '.')}`)
  if (backend !== memory.backend) await sweepOther(backend, journal)
  memory.backend = backend
  memory.sightings = outcome.view.sightings
  const all = [...looked.settingsDiagnostics, ...outcome.translation.diagnostics]
  memory.diagnostics = sayDiagnostics(
    journal,
    memory.diagnostics,
    locate(all, sourcesOf(looked), paths.pveDir),
  )
}

/** What an earlier run left in the other backend would act a second time; it goes when ours is in force. */
async function sweepOther(backend: Backend, journal: Journal): Promise<void> {
  const [, ...others] = await planRollback(backend, journal.warning)
  const leftovers = others.filter(
    (one) => one.backend === otherBackend(backend) && one.plan.tables[4] + one.plan.tables[6] !== '',
  )
  await rollbackKernel(
    leftovers.map((one) => ({ ...one, plan: { ...one.plan, staleSets: [] } })),
    journal.warning,
  )
  for (const one of leftovers) journal.info(`removed leftovers of the ${one.backend} backend`)
}
