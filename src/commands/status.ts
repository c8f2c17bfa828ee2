/** `status`: OK, WARNING or CRITICAL and why, from the node itself and from what the service says of its work. */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { choiceOf } from '../node/backend.ts'
import { realKernel } from '../node/kernel.ts'
import { lookKnowing } from '../node/recall.ts'
import { differingSysctls } from '../node/sysctls.ts'
import { isServiceRunning } from '../node/unit.ts'
import { compile, type Outcome } from '../pipeline.ts'
import { kernelFacts } from '../ruleset/installed.ts'
import { isEmpty, makePlan } from '../ruleset/plan.ts'
import { readFolder } from '../node/published.ts'
import { locate } from '../show/diagnostics.ts'
import {
  NO_REPAIRS,
  nodeStatus,
  renderStatus,
  renderStatusJson,
  toStatus,
  UNKNOWN_NODE,
  type NodeStatus,
  type ServiceStatus,
  type Status,
} from '../show/status.ts'
import { missingRules } from '../show/installed.ts'
import { exitCodeOf, type Seen } from '../show/verdict.ts'
import { wantedSysctls } from '../sysctls.ts'
import { failureReason } from '../node/failure.ts'
import { SOON_MS, toldOf, type Context } from './context.ts'

/** By then the service has put a change into force. */
const PATIENCE_MS = 3000
const AGAIN_MS = 300

export async function statusCommand(context: Context): Promise<number> {
  const { io, json, colour } = context
  const deadline = Date.now() + PATIENCE_MS
  let known = await readKnown(context)
  while (known.isRunning && !known.status.inStep && known.status.degraded === null && Date.now() < deadline) {
    await delay(AGAIN_MS)
    known = await readKnown(context)
  }
  const { status } = known
  io.stdout(json ? renderStatusJson(status) : renderStatus(status, known, colour))
  return exitCodeOf(status.level)
}

async function readKnown(context: Context): Promise<Seen & { status: Status }> {
  const { runDir, node } = context.paths
  const isHidden = await access(runDir, constants.R_OK | constants.X_OK).then(
    () => false,
    ({ code }: NodeJS.ErrnoException) => code === 'EACCES',
  )
  const isRunning = (await isServiceRunning(runDir)) || (isHidden ? undefined : false)
  const { status: published } = await readFolder(runDir)
  // The service says why it cannot do its work; then its last word is all that can be known.
  const said = isRunning === true ? published?.degraded : undefined
  const found: Found = typeof said === 'string' ? {} : await lookNow(context)
  const { inStep = published?.inStep ?? false } = found
  // Other users are often not allowed to look at the kernel.
  const reason = process.getuid?.() === 0 || said === undefined ? found.reason : undefined
  const service: ServiceStatus = {
    lastApply: null,
    lastError: null,
    since: null,
    pid: null,
    startedAt: null,
    applyMs: null,
    lockMs: null,
    applies: 0,
    repairs: NO_REPAIRS,
    updatedAt: new Date().toISOString(),
    ...published,
    backend: found.choice?.backend ?? published?.backend ?? null,
    ...(found.choice ? { backendWhy: found.choice.why } : {}),
    degraded: reason ?? said ?? null,
    inStep,
  }
  if (published?.inStep !== inStep) service.since = null
  const seen = { isRunning, isCompared: found.inStep !== undefined || published !== undefined }
  return { ...seen, status: toStatus(node, found.node ?? published ?? UNKNOWN_NODE, service, seen) }
}

interface Found {
  /** Undefined when the node could not be looked at. */
  node?: NodeStatus
  choice?: Awaited<ReturnType<typeof choiceOf>>
  /** Undefined when the kernel could not be asked. */
  inStep?: boolean
  /** Why not all could be found. */
  reason?: string
}

async function lookNow({ paths }: Context): Promise<Found> {
  const found: Found = {}
  try {
    const looked = await lookKnowing(paths, SOON_MS)
    const describe = (outcome: Outcome, pending?: ReadonlySet<string>): NodeStatus => {
      const { diagnostics, sources } = toldOf(looked, outcome)
      const located = locate(diagnostics, sources, paths.pveDir)
      return nodeStatus(outcome, located, sources, paths.pveDir, pending)
    }
    found.node = describe(compile(looked))
    found.choice = await choiceOf(looked.settings)
    const kernel = realKernel(found.choice.backend, () => undefined)
    const installed = await kernel.read()
    const outcome = compile({ ...looked, kernel: kernelFacts(installed) })
    found.node = describe(outcome, missingRules(outcome.ruleset, installed))
    const { ruleset } = outcome
    const sysctls = await differingSysctls(wantedSysctls(ruleset, looked.network), kernel)
    const hasLoop = (await kernel.hasLoop(ruleset.loop)) === ruleset.loop.length > 0
    found.inStep = isEmpty(makePlan(ruleset, installed)) && hasLoop && sysctls.size === 0
  } catch (error) {
    found.reason = failureReason(error)
  }
  return found
}
