/** `status`: whether all is well, from the node itself and from what the service says of its work. */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { changedSysctls } from '../node/apply.ts'
import { chooseBackend } from '../node/backend.ts'
import { realKernel } from '../node/kernel.ts'
import { lookKnowing } from '../node/recall.ts'
import { isServiceRunning } from '../node/unit.ts'
import { compile, type Outcome } from '../pipeline.ts'
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
  type Known,
  type NodeStatus,
  type ServiceStatus,
} from '../show/status.ts'
import { explainFailure } from '../node/failure.ts'
import { toldOf, type Context } from './context.ts'

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
  io.stdout(json ? renderStatusJson(known.status) : renderStatus(known, colour))
  return isWell(known) ? 0 : 1
}

async function readKnown(context: Context): Promise<Known> {
  const { runDir } = context.paths
  const isHidden = await access(runDir, constants.R_OK | constants.X_OK).then(
    () => false,
    ({ code }: NodeJS.ErrnoException) => code === 'EACCES',
  )
  const isRunning = (await isServiceRunning(runDir)) || (isHidden ? undefined : false)
  return { isRunning, ...(await readStatus(context, isRunning === true)) }
}

async function readStatus(context: Context, isRunning: boolean): Promise<Omit<Known, 'isRunning'>> {
  const published = await readPublished(context.paths.runDir)
  const found = await lookNow(context)
  const { inStep = published?.inStep ?? false } = found
  const now = new Date().toISOString()
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
    updatedAt: now,
    ...published,
    backend: found.backend ?? published?.backend ?? null,
    // What troubled a service that has ended is over, or found here.
    degraded: found.reason ?? (isRunning ? published?.degraded : null) ?? null,
    inStep,
  }
  if (published?.inStep !== inStep) service.since = null
  const status = toStatus(context.paths.node, found.node ?? published ?? UNKNOWN_NODE, service)
  return { status, isCompared: found.inStep !== undefined || published !== undefined }
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
    const describe = (outcome: Outcome): NodeStatus => {
      const { diagnostics, sources } = toldOf(looked, outcome)
      return nodeStatus(outcome, locate(diagnostics, sources, paths.pveDir), sources, paths.pveDir)
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
