/** One turn of the loop: look at the node, read the kernel, write the diff, read it back, publish it. */
import type { Backend } from '../facts/backend.ts'
import type { Sighting } from '../guest/sightings.ts'
import { makeCompiler } from '../pipeline.ts'
import { makeAnswers } from '../node/answers.ts'
import { apply, NotInForce, type Applied } from '../node/apply.ts'
import { RoutingRefused } from '../node/routing.ts'
import { UPLINKS } from '../ruleset/uplinks.ts'
import { choiceOf } from '../node/backend.ts'
import { realKernel } from '../node/kernel.ts'
import type { Link } from '../node/link.ts'
import { look, sourcesOf, type Looked, type Paths, type PveLook } from '../node/look.ts'
import { makeMembersCheck } from '../node/members.ts'
import { monitorKernel, type KernelMonitor } from '../node/monitor.ts'
import { RIGHTS_FILE } from '../node/published.ts'
import { fingerprint, isNothing, putBack, readSaved, savedOf, writeSaved, type Saved } from '../node/saved.ts'
import { differingSysctls } from '../node/sysctls.ts'
import { treeOf, Unreadable } from '../node/tree.ts'
import type { Tree } from '../read.ts'
import type { Installed } from '../ruleset/installed.ts'
import { hasMissingRoute, type StoredUplink } from '../uplinks.ts'
import type { Ruleset } from '../ruleset/ruleset.ts'
import { locate } from '../show/diagnostics.ts'
import type { Row } from '../show/list.ts'
import type { Flags } from './flags.ts'
import type { Journal } from './journal.ts'
import { answerLookers, type Lookers } from './lookers.ts'
import { makeMessages, type Messages } from './messages.ts'
import { makePublisher, type Publisher } from './publish.ts'
import { makeQuarantine } from './quarantine.ts'
import { makeRepairBackoff } from './repair-backoff.ts'
import { makeRunFolder, type RunFolder } from './runfolder.ts'
import { makeStaleFlows, type StaleFlows } from './stale-flows.ts'
import { sweepOther } from './sweep.ts'
import { makeTroubles, type Troubles } from './troubles.ts'

/** Pause between an event and the turn: events come in groups. */
const SETTLE_MS = 20
/** Interval between looks at sysctls and sets, which have no events. */
const TICK_MS = 1000
/** Interval between tries while the service cannot do its work. */
const RETRY_MS = 1000
/** Reading the kernel takes at most a tenth of the time, but a repair waits no longer than this. */
const READ_PAUSE_FACTOR = 9
const MAX_READ_PAUSE_MS = 700
/** Interval between full comparisons without an event: 500 x the duration of the last one, clamped to 5 s to 5 min. */
const FULL_FACTOR = 500
const [FULL_MIN_MS, FULL_MAX_MS] = [5000, 300_000]

const NO_QUORUM =
  'no quorum: the cluster takes no edits until this node sees most of its nodes again; the installed rules stay'

export class Reconciler {
  private readonly backoff = makeRepairBackoff()
  private readonly troubles: Troubles
  private readonly messages: Messages
  private readonly files: RunFolder
  private readonly publisher: Publisher
  private readonly quarantine = makeQuarantine(now)
  private readonly answers = makeAnswers()
  private readonly compile = makeCompiler()
  private readonly areMembersOther = makeMembersCheck()
  /** The ruleset that shall be in force; before the first turn, that of the last run. */
  private saved: Saved | undefined
  /** The ruleset that was put into force last, and the answer of the kernel then. */
  private before: { ruleset: Ruleset; installed: Installed } | undefined
  private lastTree: Tree | undefined
  /** As the last turn knew them; before the first one, the state does. */
  private uplinks: readonly StoredUplink[] | undefined
  private pve: PveLook | undefined
  private monitor: KernelMonitor | undefined
  private readonly staleFlows: StaleFlows
  private readonly lookers: Lookers
  private nextTurn = 0
  private turnEnd = -Infinity
  /** The last reading of the whole kernel; the next one is due at `fullAt`. */
  private readAt = -Infinity
  private readMs = 0
  private fullAt = -Infinity

  /** `rows` and `sightings`: of the last run. */
  constructor(
    private readonly paths: Paths,
    private readonly journal: Journal,
    private readonly flags: Flags,
    private readonly link: Link,
    rows: readonly Row[] | undefined,
    private sightings: readonly Sighting[],
  ) {
    this.troubles = makeTroubles(journal)
    this.messages = makeMessages(journal, this.backoff, () => this.saved?.backend ?? 'legacy')
    this.files = makeRunFolder(paths.runDir, journal.warning)
    this.publisher = makePublisher(paths, this.files, rows, journal.warning)
    this.staleFlows = makeStaleFlows(journal)
    this.lookers = answerLookers(paths.runDir, this.files)
  }

  /** Puts the saved ruleset into force before /etc/pve is read. */
  async begin(): Promise<void> {
    const { paths, troubles, messages } = this
    try {
      this.saved = await readSaved(paths.stateDir)
      if (!this.saved) return
      this.publishRights(this.saved)
      const start = now()
      const kernel = realKernel(this.saved.backend, troubles.warn)
      const done = await putBack(this.saved, kernel, paths.stateDir, troubles.warn)
      if (!isNothing(done)) messages.restored(done.plan, now() - start)
    } catch (error) {
      troubles.warn(notPutBack((error as Error).message))
    }
  }

  /** The time at which the next turn is due. */
  due(): number {
    const { flags, readAt, readMs } = this
    const [look, kernel] = [flags.raisedAt('look'), flags.raisedAt('kernel')]
    // A tick would repair before the back-off is over.
    const times = [kernel === undefined ? Math.min(this.nextTurn, this.turnEnd + TICK_MS) : this.nextTurn]
    if (look !== undefined) times.push(look + SETTLE_MS)
    if (kernel !== undefined) {
      const pauseMs = Math.max(SETTLE_MS, this.backoff.pauseMs())
      times.push(Math.max(kernel + pauseMs, readAt + Math.min(MAX_READ_PAUSE_MS, readMs * READ_PAUSE_FACTOR)))
    }
    return Math.min(...times)
  }

  async turn(): Promise<void> {
    const { flags } = this
    const isTick = flags.raisedAt('look') === undefined && flags.raisedAt('kernel') === undefined
    const isBlind = this.monitor !== undefined && !this.monitor.isAlive()
    if (isTick && (isBlind || (await this.areOthersDrifted().catch(() => false)))) flags.raise('kernel')
    if (!isTick || now() >= this.nextTurn) {
      flags.lower('look')
      if (flags.raisedAt('kernel') !== undefined) this.fullAt = -Infinity
      flags.lower('kernel')
      await this.lookAndApply().catch((error: unknown) => this.fail(error))
    }
    this.turnEnd = now()
  }

  /** The verdict in one line, as systemd shows it; undefined until NAT is in force, or the reason why not is known. */
  summary(): string | undefined {
    return this.publisher.headline()
  }

  /** Reads everything again, and offers the kernel the rules that it refused. */
  reload(): void {
    this.quarantine.release()
    this.link.ask()
    this.flags.raise('look')
  }

  /** The networks of the kernel changed; interfaces of ours may be gone. */
  networkChanged(): void {
    this.answers.forget()
    this.flags.raise('kernel')
    this.flags.raise('look')
  }

  async close(): Promise<void> {
    this.monitor?.close()
    this.staleFlows.close()
    await this.lookers.close()
    await this.publisher.close()
  }

  /** `looksAgain`: a route that is refused is no reason yet to take the marks of all uplinks away; the second look decides. */
  private async lookAndApply(looksAgain = true): Promise<void> {
    const { paths, answers, lastTree, quarantine, saved, uplinks } = this
    if (this.isKernelDue()) answers.forgetRules()
    const before = { settings: lastTree?.settings, ledger: saved?.ledger, uplinks }
    const looked = {
      ...(await look(paths, this.readPve(), answers, before)),
      remembered: this.sightings,
      quarantined: quarantine.rules(),
    }
    const isWaiting = Object.keys(looked.ledger?.missing ?? {}).length > 0
    const pauseMs = Math.min(
      isWaiting ? MISSING_MS : looked.settings.intervalSeconds * 1000,
      answers.waitMs(),
    )
    this.nextTurn = now() + (hasMissingRoute(looked.network) ? MISSING_ROUTE_MS : pauseMs)
    try {
      await this.applyLook(looked, looksAgain && !looked.quarantined.has(UPLINKS))
    } catch (error) {
      if (!looksAgain || !(error instanceof RoutingRefused)) throw error
      answers.forget()
      this.fullAt = -Infinity
      return await this.lookAndApply(false)
    }
    this.lastTree = looked.tree
    this.troubles.settle(true)
  }

  private async fail(error: unknown): Promise<void> {
    const { publisher, messages, troubles, flags } = this
    this.nextTurn = now() + Math.max(RETRY_MS, this.backoff.pauseMs())
    if (!(error instanceof NotReadYet)) publisher.failed(messages.failed(error))
    if (error instanceof NotInForce) {
      // Another program changed it between the write and the reading.
      messages.repaired(error.left)
      flags.raise('kernel')
    }
    troubles.settle(false)
    await this.keep().catch(({ message }: Error) => {
      if (message !== (error as Error).message) troubles.warn(notPutBack(message))
    })
  }

  /** While nothing can be read, keeps the saved ruleset in force. */
  private async keep(): Promise<void> {
    const { saved, paths, troubles, messages, publisher } = this
    if (!saved) return
    this.monitorKernel(saved.backend)
    if (!this.isKernelDue()) return
    const kernel = realKernel(saved.backend, troubles.warn)
    const done = await this.reading(() => putBack(saved, kernel, paths.stateDir, troubles.warn))
    if (isNothing(done)) return
    messages.putBack(done.plan)
    publisher.putBack(done.plan)
  }

  /** The files of the reader, understood once. */
  private readPve(): PveLook {
    const { paths, link, troubles } = this
    const { unreadable, files, hasQuorum } = link.state()
    if (unreadable !== undefined) throw new Unreadable(unreadable)
    if (!files) throw new NotReadYet()
    if (this.pve?.files !== files)
      this.pve = { files, tree: treeOf(files, paths.pveDir, paths.node, this.lastTree) }
    if (!hasQuorum) troubles.warn(NO_QUORUM)
    return this.pve
  }

  private async applyLook(looked: Looked, looksAgain: boolean): Promise<void> {
    const { paths, journal, troubles, quarantine, staleFlows, compile, before } = this
    const { backend, why } = await choiceOf(looked.settings, this.answers)
    const isOther = this.monitor?.backend !== backend || this.saved?.backend !== backend
    const stands = !isOther && !this.isKernelDue()
    const due = { flows: staleFlows.ask(), quarantined: quarantine.isDue() }
    const kernel = realKernel(backend, troubles.warn)
    const start = now()
    const pass = (): Promise<Applied> =>
      apply(looked, kernel, paths.stateDir, troubles.warn, due, { compile, before, stands, looksAgain })
    const applied = await (stands ? pass() : this.reading(pass))
    staleFlows.passed(kernel, applied.flows, applied.flowsDue)
    const tookMs = now() - start
    if (isOther) await sweepOther(backend, troubles.warn, journal)
    this.monitorKernel(backend)
    const isRepair = await this.save(looked, applied, backend)
    this.before = { ruleset: applied.outcome.ruleset, installed: applied.readBack }
    quarantine.note(applied.quarantined)
    this.sightings = applied.outcome.view.sightings
    this.uplinks = applied.remembered.uplinks
    this.lookers.passed(applied, kernel.read)
    this.tell(looked, applied, { backend, backendWhy: why, tookMs, isRepair })
  }

  /** Returns whether the ruleset was in force before, so that all writes were repairs. */
  private async save(looked: Looked, applied: Applied, backend: Backend): Promise<boolean> {
    const { ruleset } = applied.outcome
    const { saved, before, paths, journal } = this
    if (before?.ruleset === ruleset && saved?.backend === backend) return true
    const next = savedOf(applied, looked, backend)
    this.saved = next
    const isSame = saved !== undefined && fingerprint(saved) === fingerprint(next)
    const isRepair = isSame && before !== undefined
    if (isSame && JSON.stringify(saved.ledger) === JSON.stringify(next.ledger)) return isRepair
    this.publishRights(next)
    await writeSaved(paths.stateDir, next).catch(({ message }: Error) =>
      journal.warning(`cannot save the ruleset for the next boot: ${message}`),
    )
    return isRepair
  }

  private publishRights({ ledger }: Saved): void {
    this.files.write(RIGHTS_FILE, JSON.stringify({ ledger }))
  }

  private tell(
    looked: Looked,
    applied: Applied,
    facts: { backend: Backend; backendWhy: string; tookMs: number; isRepair: boolean },
  ): void {
    const { paths, publisher, messages } = this
    const sources = sourcesOf(looked)
    const all = [...looked.settingsDiagnostics, ...applied.outcome.translation.diagnostics]
    const located = locate(all, sources, paths.pveDir)
    const stale = looked.tree.stale ?? []
    const hindered = this.link.state().hasQuorum ? stale : [...stale, { file: '', reason: NO_QUORUM }]
    const changes = publisher.passed({ applied, located, sources, stale: hindered, ...facts })
    messages.applied(applied, changes, facts.isRepair, facts.tookMs)
    messages.passed(located, stale)
  }

  private monitorKernel(backend: Backend): void {
    if (this.monitor?.backend === backend) return
    this.monitor?.close()
    this.monitor = monitorKernel(
      backend,
      () => this.flags.raise('kernel'),
      () => {
        this.answers.forgetRules()
        this.flags.raise('look')
      },
    )
  }

  /** Whether the kernel must be read: other programs may have changed it without an event. */
  private isKernelDue(): boolean {
    return this.monitor?.isAlive() !== true || now() >= this.fullAt
  }

  /** Runs work that reads the whole kernel, and notes how long it took. */
  private async reading<T>(read: () => Promise<T>): Promise<T> {
    const start = now()
    this.fullAt = -Infinity // unless the reading ends well
    const result = await read()
    this.readAt = now()
    this.readMs = this.readAt - start
    this.fullAt = this.readAt + Math.min(FULL_MAX_MS, Math.max(FULL_MIN_MS, this.readMs * FULL_FACTOR))
    return result
  }

  private async areOthersDrifted(): Promise<boolean> {
    const { saved, before, troubles } = this
    const kernel = realKernel(saved?.backend ?? 'legacy', troubles.warn)
    if ((await differingSysctls(saved?.sysctls ?? [], kernel)).size > 0) return true
    return before !== undefined && this.areMembersOther(before.installed.sets)
  }
}

function notPutBack(reason: string): string {
  return `cannot put back the saved ruleset: ${reason}`
}

/** The reader has sent nothing so far, which is no fault yet. */
class NotReadYet extends Error {}

/** Interval between looks while a guest or its file is missing: its return decides over its rights. */
const MISSING_MS = 1000
/** The kernel flushes all routes of a link within milliseconds. */
const MISSING_ROUTE_MS = 100

const now = (): number => performance.now()
