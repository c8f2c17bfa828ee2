/** Publishes the state of the service for other programs: files of the run folder, each replaced in one step. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FAMILIES } from '../address.ts'
import { field, parseJson } from '../json.ts'
import type { Applied } from '../node/apply.ts'
import type { Backend } from '../facts/backend.ts'
import type { Paths } from '../node/look.ts'
import { RECALL_FILE, renderRecall } from '../node/recall.ts'
import { writeWhole } from '../node/state.ts'
import type { Outcome } from '../pipeline.ts'
import type { Installed } from '../ruleset/installed.ts'
import { isEmpty, type Plan } from '../ruleset/plan.ts'
import type { StaleFile } from '../read.ts'
import { diffRows, diffTexts, type RowChange } from '../show/changes.ts'
import type { Located, Sources } from '../show/diagnostics.ts'
import { blockRows, renderBlocksJson } from '../show/blocks.ts'
import {
  countersOf,
  listTexts,
  renderListJson,
  renderTexts,
  rowText,
  type Listed,
  type Row,
} from '../show/list.ts'
import {
  countRepairs,
  nodeStatus,
  NO_REPAIRS,
  renderStatusJson,
  toStatus,
  UNKNOWN_NODE,
  type Repairs,
  type ServiceStatus,
  type Status,
} from '../show/status.ts'
import { verdictLine } from '../show/verdict.ts'
import { BLOCKS_FILE, FILES, readFolder } from '../node/published.ts'
import { FIREWALL_LOG, makeGuiLog } from './gui-log.ts'
import type { RunFolder } from './runfolder.ts'

/** Readers know by this that the service is alive. */
const STATUS_MS = 10_000

/** A pass that ended well. */
interface Pass {
  applied: Applied
  backend: Backend
  backendWhy: string
  located: readonly Located[]
  sources: Sources
  /** Files that cannot be read although the pass ended well: their last text stands. */
  stale: readonly StaleFile[]
  tookMs: number
  /** The desired ruleset is that of the pass before. */
  isRepair: boolean
}

export interface Publisher {
  /** Returns the changes of rules since the pass before. */
  passed: (pass: Pass) => RowChange[]
  failed: (reason: string) => void
  /** The verdict in one line, as systemd shows it; undefined until a pass has ended, well or not. */
  headline: () => string | undefined
  /** The saved ruleset was put back while nothing can be read. */
  putBack: (plan: Plan) => void
  /** Says that the service has ended. */
  close: () => Promise<void>
}

/** `rows`: the rules that were in force before. `warn` is called once for a firewall log that cannot be written. */
export function makePublisher(
  paths: Paths,
  files: RunFolder,
  rows: readonly Row[] | undefined,
  warn: (message: string) => void,
  firewallLog = FIREWALL_LOG,
): Publisher {
  const list = makeListing(files, paths.pveDir, rows)
  const guiLog = makeGuiLog(
    { path: firewallLog, now: () => new Date(), tell: warn },
    publishedBefore(paths.runDir),
  )
  const service = firstStatus()
  let look = UNKNOWN_NODE
  let said = ''
  const status = (): Status =>
    toStatus(paths.node, look, service, { isRunning: service.pid !== null, isCompared: true })
  const say = (): void => {
    service.updatedAt = isoNow()
    files.write(FILES.status, renderStatusJson(status()))
  }
  /** Writes on a change; the timer writes as time goes on. */
  const sayIfNew = (): void => {
    const text = JSON.stringify({ ...service, updatedAt: '', look })
    if (text !== said) say()
    said = text
  }
  let recalled = ''
  const sayRecall = ({ outcome, quarantined }: Applied): void => {
    const text = renderRecall({ remembered: outcome.view.sightings, quarantined })
    if (text !== recalled) files.write(RECALL_FILE, text)
    recalled = text
  }
  const turn = (inStep: boolean, degraded: string | null): void => {
    if (service.inStep !== inStep) service.since = isoNow()
    Object.assign(service, { inStep, degraded })
  }
  const timer = setInterval(say, STATUS_MS)
  say()
  return {
    passed(pass) {
      turn(true, pass.stale.map(({ reason }) => reason).join('; ') || null)
      noteApply(service, pass)
      look = nodeStatus(pass.applied.outcome, pass.located, pass.sources, paths.pveDir)
      sayRecall(pass.applied)
      const { outcome, readBack } = pass.applied
      const changes = list.passed(outcome, readBack)
      guiLog.passed({ changes, diagnostics: outcome.translation.diagnostics, view: outcome.view })
      sayIfNew()
      return changes
    },
    headline: () => (service.inStep || service.degraded !== null ? verdictLine(status()) : undefined),
    failed(reason) {
      turn(false, reason)
      service.lastError = reason
      sayIfNew()
    },
    putBack({ changes }) {
      service.repairs = sum(service.repairs, countRepairs(changes, [], false))
      service.lastApply = isoNow()
      service.applies++
      sayIfNew()
    },
    async close() {
      clearInterval(timer)
      service.pid = null
      say()
      await Promise.all([files.written(), guiLog.written()])
    },
  }
}

/**
 * The changes since the rules that the service or `apply` put into force last; undefined when rules are in force that no file tells.
 * The folder lives as long as the kernel's rules.
 */
export async function changesOfRows(
  rows: readonly Row[],
  { chains }: Installed,
  runDir: string,
): Promise<RowChange[] | undefined> {
  const isNew = FAMILIES.every((family) => chains[family].own.size === 0)
  const before = isNew ? [] : (await readFolder(runDir)).rows
  return before && diffRows(before, rows)
}

/** The files that `apply` writes where no service runs. */
export async function publishList(runDir: string, rows: readonly Row[]): Promise<void> {
  await writeWhole(runDir, FILES.rows, renderListJson(rows), 'group')
}

/** Diagnostics that a service before this one published; read before the first status of this one takes their place. */
function publishedBefore(runDir: string): readonly Located[] {
  try {
    const status = parseJson(readFileSync(join(runDir, FILES.status), 'utf8'))
    const diagnostics = field(status, 'diagnostics')
    return Array.isArray(diagnostics) ? (diagnostics as Located[]) : []
  } catch {
    return []
  }
}

function firstStatus(): ServiceStatus {
  const now = isoNow()
  return {
    inStep: false,
    backend: null,
    lastApply: null,
    lastError: null,
    degraded: null,
    since: now,
    pid: process.pid,
    startedAt: now,
    updatedAt: now,
    applyMs: null,
    lockMs: null,
    applies: 0,
    repairs: NO_REPAIRS,
  }
}

function noteApply(service: ServiceStatus, { applied, backend, backendWhy, tookMs, isRepair }: Pass): void {
  const { plan, sysctls, madeLoop, lockMs } = applied
  service.backend = backend
  service.backendWhy = backendWhy
  const isFirst = service.lastApply === null
  if (isEmpty(plan) && sysctls.length === 0 && !madeLoop && !isFirst) return
  service.lastApply = isoNow()
  service.applyMs = Math.round(tookMs)
  service.lockMs = Math.round(lockMs)
  service.applies++
  if (isRepair) service.repairs = sum(service.repairs, countRepairs(plan.changes, sysctls, madeLoop))
}

function sum(a: Repairs, b: Repairs): Repairs {
  return Object.fromEntries(
    Object.entries(a).map(([kind, count]) => [kind, count + b[kind as keyof Repairs]]),
  ) as Repairs
}

interface Listing {
  /** Returns the changes of rules since the pass before. */
  passed: (outcome: Outcome, installed: Installed) => RowChange[]
}

/** The list, written when rules or states change. */
function makeListing(files: RunFolder, pveDir: string, before: readonly Row[] | undefined): Listing {
  let translation: Outcome['translation'] | undefined
  let listed: Listed | undefined
  let hasBlocks = false
  const list = (outcome: Outcome, installed: Installed): RowChange[] => {
    const last = listed ? [...listed.texts.values()] : (before?.map(rowText) ?? [])
    const isFirst = !listed
    listed = listTexts(outcome, pveDir, listed)
    const now = [...listed.texts.values()]
    if (!isFirst && now.length === last.length && now.every((text, i) => text === last[i])) return []
    files.write(FILES.rows, renderTexts(listed, countersOf(outcome.ruleset, installed)))
    // The page shows nothing of blocks on a node without them; what stood there before goes.
    const rows = blockRows(outcome)
    if (rows.length > 0 || hasBlocks) files.write(BLOCKS_FILE, renderBlocksJson(rows))
    hasBlocks = rows.length > 0
    return diffTexts(last, now)
  }
  return {
    passed(outcome, installed) {
      const changes = outcome.translation === translation ? [] : list(outcome, installed)
      translation = outcome.translation
      return changes
    },
  }
}

function isoNow(): string {
  return new Date().toISOString()
}
