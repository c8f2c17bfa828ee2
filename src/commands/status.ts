/** `status`: whether all is well, from the node itself and from what the service says of its work. */
import { setTimeout as delay } from 'node:timers/promises'
import { changedSysctls } from '../node/apply.ts'
import { chooseBackend } from '../node/backend.ts'
import { realKernel } from '../node/kernel.ts'
import { lookKnowing } from '../node/recall.ts'
import { isServiceRunning } from '../node/unit.ts'
import { compile } from '../pipeline.ts'
import { isEmpty, makePlan } from '../ruleset/plan.ts'
import { readPublished } from '../service/publish.ts'
import { locate } from '../show/diagnostics.ts'
import {
  isWell,
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
import { explainFailure } from './failure.ts'
import { sourcesOf, type Context } from './context.ts'

/** By then the service has put a change into force. */
const PATIENCE_MS = 3000
const AGAIN_MS = 300

export async function statusCommand(context: Context): Promise<number> {
  const { io, paths, json, colour } = context
  const deadline = Date.now() + PATIENCE_MS
  let isRunning = await isServiceRunning(paths.runDir)
  let status = await readStatus(context)
  while (isRunning && !status.inStep && status.degraded === null && Date.now() < deadline) {
    await delay(AGAIN_MS)
    isRunning = await isServiceRunning(paths.runDir)
    status = await readStatus(context)
  }
  io.stdout(json ? renderStatusJson(status) : renderStatus(status, isRunning, colour))
  return isWell(status, isRunning) ? 0 : 1
}

async function readStatus(context: Context): Promise<Status> {
  const published = await readPublished(context.paths.runDir)
  const found = await lookNow(context)
  const { inStep = published?.inStep ?? false } = found
  const now = new Date().toISOString()
  const service: ServiceStatus = {
    ...{ lastApply: null, lastError: null, since: null, pid: null, startedAt: null, lookedAt: null },
    ...{ applyMs: null, lockMs: null, applies: 0, repairs: NO_REPAIRS, updatedAt: now },
    ...published,
    backend: found.backend ?? published?.backend ?? null,
    degraded: found.reason ?? published?.degraded ?? null,
    inStep,
  }
  if (published?.inStep !== inStep) service.since = null
  return toStatus(context.paths.node, found.node ?? published ?? UNKNOWN_NODE, service)
}

interface Found {
  /** Undefined when the node could not be looked at. */
  node?: NodeStatus
  backend?: 'legacy' | 'nft'
  /** Undefined when the kernel could not be asked. */
  inStep?: boolean
  /** Why not all could be found. */
  reason?: string
}

async function lookNow({ paths }: Context): Promise<Found> {
  const found: Found = {}
  try {
    const looked = await lookKnowing(paths)
    const sources = sourcesOf(looked)
    const describe = (outcome: ReturnType<typeof compile>): NodeStatus => {
      const all = [...looked.settingsDiagnostics, ...outcome.translation.diagnostics]
      return nodeStatus(outcome, locate(all, sources, paths.pveDir), sources, paths.pveDir)
    }
    found.node = describe(compile(looked))
    found.backend = await chooseBackend(looked.settings)
    const kernel = realKernel(found.backend, () => undefined)
    const inForce = await kernel.read()
    const outcome = compile(looked, inForce)
    found.node = describe(outcome)
    const { ruleset } = outcome
    const sysctls = await changedSysctls(outcome, looked, kernel)
    const hasLoop = (await kernel.hasLoop(ruleset.loop)) === ruleset.loop.length > 0
    found.inStep = isEmpty(makePlan(ruleset, inForce)) && hasLoop && sysctls.size === 0
  } catch (error) {
    found.reason = explainFailure(error)
      .replace(/^pvenat: /, '')
      .trimEnd()
  }
  return found
}
