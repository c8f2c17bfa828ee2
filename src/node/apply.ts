/** Installs a ruleset: tries it, writes the diff, reads it back. */
import { setTimeout as delay } from 'node:timers/promises'
import { endpointLines } from '../nat/flows.ts'
import { compile, type Outcome } from '../pipeline.ts'
import type { Look } from '../read.ts'
import { remember, type Remembered } from '../remembered.ts'
import { kernelFacts, NOTHING_INSTALLED, type Installed } from '../ruleset/installed.ts'
import type { Ruleset } from '../ruleset/ruleset.ts'
import { CLAMP_MSS } from '../ruleset/mss.ts'
import { EMPTY_PLAN, inWordsOf, isComplete, isEmpty, makePlan, type Plan } from '../ruleset/plan.ts'
import { SELF_HAIRPIN } from '../ruleset/self-hairpin.ts'
import { UPLINKS } from '../ruleset/uplinks.ts'
import { wantedSysctls } from '../sysctls.ts'
import { endAllStaleFlows, type FlowWork } from './conntrack.ts'
import { CommandFailed, TOO_LATE } from './exec.ts'
import type { Kernel } from './kernel.ts'
import { isMissing, tryPlan } from './preflight.ts'
import { RoutingRefused } from './routing.ts'
import { findRefused, type Refused } from './find-refused.ts'
import { readState, saveState, type State } from './state.ts'
import { differingSysctls, setSysctls, withOldValues, type SysctlChanges } from './sysctls.ts'

export interface Applied {
  outcome: Outcome
  /** The diff that was written; empty when in sync. */
  plan: Plan
  /** Sysctls that were switched, by path below /proc/sys. */
  sysctls: string[]
  /** Work on stale flows that is left for after the pass: there may be hundreds of thousands. */
  flows: FlowWork | undefined
  /** Whether the next pass must find stale flows again, because the state could not be saved. */
  flowsDue: boolean
  /** NAT rules that the kernel refuses, old and new. */
  quarantined: Refused
  /** The installed ruleset before the pass. */
  installed: Installed
  /** Whether the pair of interfaces had to be made. */
  madeLoop: boolean
  /** For how many milliseconds pve-firewall's lock was held, the longest time of several; 0 when nothing was written. */
  lockMs: number
  /** The installed ruleset after the pass, counters included. */
  readBack: Installed
  /** Facts for the next look. */
  remembered: Remembered
}

const MAX_TRIES = 20
const BUSY_MS = 50

/** The kernel took a plan but does not show the rules; `left` is the missing part. */
export class NotInForce extends Error {
  constructor(readonly left: Plan) {
    super(
      `the kernel does not show the written rules: ${left.changes.map((change) => change.what).join(', ')}`,
    )
  }
}

/** Tasks of a pass beyond the changes. */
export interface Due {
  /**
   * `due`: there may be stale flows in any case, for the process that wrote last may have been killed before it ended them;
   * `ended`: there are none any more, and endpoints of before may be forgotten; `waiting`: neither.
   */
  flows: 'due' | 'ended' | 'waiting'
  /** Offer the rules once more that the kernel refused. */
  quarantined: boolean
}

const ALL_DUE: Due = { flows: 'due', quarantined: true }

/** Results of the pass before that spare work. */
interface Spared {
  compile?: (look: Look) => Outcome
  /** The last ruleset, and the reading after it was written. */
  before?: { installed: Installed; ruleset: Ruleset } | undefined
  /** No other program can have changed it since. */
  stands?: boolean
  /** The caller looks again when the kernel refuses a route, for a link may have gone since this look. Then RoutingRefused is thrown. */
  looksAgain?: boolean
}

/** One pass. Throws when the kernel refuses or does not show the ruleset; `warn` gets lesser faults. */
export async function apply(
  look: Look,
  kernel: Kernel,
  stateDir: string,
  warn: (message: string) => void,
  due = ALL_DUE,
  spared: Spared = {},
): Promise<Applied> {
  // A link may have gone since the look, so routing is offered at each pass.
  const others = new Map([...(look.quarantined ?? [])].filter(([id]) => id !== UPLINKS))
  const offered = look.quarantined?.has(UPLINKS) ? { ...look, quarantined: others } : look
  try {
    return await pass(offered, kernel, stateDir, warn, due, spared)
  } catch (error) {
    if (error instanceof RoutingRefused) {
      if (spared.looksAgain) throw error
      // Every other rule is in force without it.
      const quarantined = new Map([...others, [UPLINKS, reasonOf(error)] as const])
      const kept = { ...due, quarantined: false }
      return await pass({ ...look, quarantined }, kernel, stateDir, warn, kept, { ...spared, stands: false })
    }
    // The reading of before may be out of date. A program that hangs would hang again.
    const isKnown = error instanceof CommandFailed && error.finished.code !== TOO_LATE
    if (!spared.stands || !isKnown) throw error
    return await pass(offered, kernel, stateDir, warn, due, { ...spared, stands: false })
  }
}

/** The answer of `ip` in a line. */
function reasonOf({ finished: { stderr } }: RoutingRefused): string {
  return stderr.trim().split('\n')[0] ?? ''
}

const NOTHING_DONE = { sysctls: [], flows: undefined, flowsDue: false, madeLoop: false, lockMs: 0 }

async function pass(
  look: Look,
  kernel: Kernel,
  stateDir: string,
  warn: (message: string) => void,
  due: Due,
  spared: Spared,
): Promise<Applied> {
  const { before, stands } = spared
  const known = before && stands ? before.installed : await kernel.read(before?.installed)
  const { outcome, plan, quarantined, installed = known } = await settle(look, known, kernel, due, spared)
  const noPairs = quarantined.get(SELF_HAIRPIN)
  if (noPairs !== undefined) warn(`no guest reaches itself by an external address: ${noPairs}`)
  const noUplinks = quarantined.get(UPLINKS)
  if (noUplinks !== undefined) warn(`answers leave by the default route alone: ${noUplinks}`)
  const noClamp = quarantined.get(CLAMP_MSS)
  if (noClamp !== undefined) warn(`TCP segments are not made to fit narrow uplinks: ${noClamp}`)
  const isWaiting = due.flows === 'waiting'
  const isUnread = plan === EMPTY_PLAN && isWaiting
  const wanted = isUnread ? [] : wantedSysctls(outcome.ruleset, look.network)
  const sysctls = await differingSysctls(wanted, kernel)
  if (isEmpty(plan) && outcome.ruleset === before?.ruleset && sysctls.size === 0 && isWaiting) {
    // The saved state still holds, too.
    const kept = { outcome, plan, quarantined, installed, remembered: remember(look, outcome) }
    if (!isUnread) {
      const readBack = inWordsOf(outcome.ruleset, installed, before?.installed)
      return { ...NOTHING_DONE, ...(await write(outcome, plan, kernel, installed)), ...kept, readBack }
    }
    // `nft flush ruleset` takes it away, and no monitor of iptables tells.
    if (outcome.ruleset.hasBridgeZone) await zoneOnBridges(outcome.ruleset, kernel)
    return { ...NOTHING_DONE, ...kept, readBack: installed }
  }
  const state = await readState(stateDir, warn)
  const next = nextState(state, look, outcome, sysctls)
  // Before the first change, so that a crash in between loses nothing.
  if (sysctls.size > 0) await saveState(stateDir, { ...state, sysctls: next.sysctls }, warn)
  const written = await write(outcome, plan, kernel, installed)
  const switched = await setSysctls(sysctls, kernel)
  const remembered = new Set(state.endpoints)
  const isNew = !isEmpty(plan) || next.endpoints.some((line) => !remembered.has(line))
  const flows = isNew || due.flows === 'due' ? flowWork(look, outcome, state.endpoints) : undefined
  // Endpoints that are gone are remembered as long as flows to them may be stale.
  if (flows) next.endpoints = [...flows.endpoints]
  else if (isWaiting) next.endpoints = state.endpoints
  const isKnown = JSON.stringify(state) === JSON.stringify(next)
  const isSaved = isKnown || (await saveState(stateDir, next, warn))
  const { readBack = installed, ...done } = written
  return {
    outcome,
    plan,
    sysctls: switched,
    quarantined,
    installed,
    ...done,
    readBack: inWordsOf(outcome.ruleset, readBack, before?.installed),
    flows,
    flowsDue: !isSaved,
    remembered: next,
  }
}

/** The desired ruleset and its plan, without the rules that the kernel refuses; `installed` if it was read anew. */
async function settle(
  looked: Look,
  installed: Installed,
  kernel: Kernel,
  due: Due,
  { compile: compileLook = compile, before, stands }: Spared,
): Promise<Pick<Applied, 'outcome' | 'plan' | 'quarantined'> & { installed?: Installed }> {
  const look = { ...looked, kernel: kernelFacts(installed) }
  const quarantined: Refused = due.quarantined ? new Map() : (look.quarantined ?? new Map())
  const outcome = compileLook({ ...look, quarantined })
  // The same ruleset, which is known to be in force.
  if (stands && outcome.ruleset === before?.ruleset) return { outcome, plan: EMPTY_PLAN, quarantined }
  const plan = makePlan(outcome.ruleset, installed)
  if (isEmpty(plan)) return { outcome, plan, quarantined }
  // A chain that is written anew keeps its counters as they are now, not as they were at the last reading.
  const [refusal, fresh] = await Promise.all([
    tryPlan(kernel.openTrial, outcome.ruleset, plan),
    stands ? kernel.read(installed) : installed,
  ])
  if (!refusal) return { outcome, plan: makePlan(outcome.ruleset, fresh), quarantined, installed: fresh }
  const tryWhole = (one: Ruleset): Promise<CommandFailed | undefined> =>
    tryPlan(kernel.openTrial, one, makePlan(one, NOTHING_INSTALLED))
  // If the previous ruleset is refused, too, a program or a module is missing. No rule is at fault, and the installed rules stay.
  if (before && !isMissing(refusal) && (await tryWhole(before.ruleset))) throw refusal
  const trial = await kernel.openTrial()
  if (!trial) return { outcome, plan, quarantined }
  try {
    const all = compile({ ...look, quarantined: new Map() })
    const refused = await findRefused(trial, all.ruleset)
    const reduced = compile({ ...look, quarantined: refused })
    const rest = await tryWhole(reduced.ruleset)
    if (rest) throw rest
    return {
      outcome: reduced,
      plan: makePlan(reduced.ruleset, fresh),
      quarantined: refused,
      installed: fresh,
    }
  } finally {
    trial.end()
  }
}

/** Interfaces of the loop come before the rules that use them and go after them. */
async function write(
  { ruleset }: Outcome,
  plan: Plan,
  kernel: Kernel,
  installed: Installed,
): Promise<Pick<Applied, 'madeLoop' | 'lockMs'> & { readBack?: Installed }> {
  const { loop } = ruleset
  await zoneOnBridges(ruleset, kernel)
  const hasLoop = await kernel.hasLoop(loop)
  const madeLoop = loop.length > 0 && !hasLoop
  if (madeLoop) await kernel.setLoop(loop)
  let lockMs = 0
  let readBack: Installed | undefined
  if (!isEmpty(plan)) {
    lockMs = await writeSteadily(ruleset, plan, kernel)
    readBack = await kernel.read(installed)
    const left = makePlan(ruleset, readBack)
    if (!isComplete(left)) throw new NotInForce(left)
  }
  if (loop.length === 0 && hasLoop) await kernel.setLoop([])
  return { madeLoop, lockMs, ...(readBack ? { readBack } : {}) }
}

/**
 * Done first, because connections that proxmox-firewall sees before they have the zone get no NAT. If the kernel cannot do it, the other rules
 * are written all the same, and doctor reports it.
 */
export async function zoneOnBridges(
  { hasBridgeZone: isWanted }: Pick<Ruleset, 'hasBridgeZone'>,
  kernel: Kernel,
): Promise<void> {
  const isThere = await kernel.hasBridgeZone()
  if (isThere === undefined || isThere === isWanted) return
  await kernel.setBridgeZone(isWanted).catch((error: unknown) => {
    if (!isWanted || !(error instanceof CommandFailed)) throw error
  })
}

/** While a program lists all sets (pve-firewall does in each of its cycles), no set can be swapped. */
async function writeSteadily(ruleset: Ruleset, first: Plan, kernel: Kernel): Promise<number> {
  let plan = first
  for (let tries = 1; ; tries++) {
    try {
      return await kernel.write(plan)
    } catch (error) {
      const isBusy = error instanceof CommandFailed && /resource busy/i.test(error.finished.stderr)
      if (!isBusy || tries === MAX_TRIES) throw error
      await delay(BUSY_MS)
      plan = makePlan(ruleset, await kernel.read())
    }
  }
}

function flowWork(
  { network, settings }: Look,
  { translation: { dispatch, rules } }: Outcome,
  before: readonly string[],
): FlowWork {
  const inside = network.internal.map((one) => one.network)
  const egresses = rules.filter(({ state }) => state === 'active').flatMap((rule) => rule.egresses)
  return {
    dispatch,
    endpoints: [...new Set([...before, ...endpointLines(dispatch)])],
    inside,
    noHairpin: settings.hairpin === 'no',
    alsoTcp: settings.cutRemoved,
    leaving: egresses.flatMap(({ exempt, source: { ranges } }) =>
      exempt ? [] : ranges === 'any' ? inside : ranges,
    ),
  }
}

/** After that the flows that are left wait for the next pass. */
const FLOWS_MS = 10_000

/** Ends stale flows after the pass of a command, which does not wait for ever. */
export async function endFlows(
  { flows, outcome }: Applied,
  kernel: Kernel,
  stateDir: string,
  warn: (message: string) => void,
): Promise<void> {
  if (!flows) return
  const until = performance.now() + FLOWS_MS
  try {
    await endAllStaleFlows(kernel, flows, () => performance.now() < until)
    if (performance.now() > until) return
    const endpoints = endpointLines(outcome.translation.dispatch)
    await saveState(stateDir, { ...(await readState(stateDir, warn)), endpoints }, warn)
  } catch (error) {
    // NAT works all the same; a client that goes on sending keeps its stale flow.
    warn(`stale flows are not ended: ${(error as Error).message}`)
  }
}

function nextState(state: State, look: Look, outcome: Outcome, changes: SysctlChanges): State {
  return {
    version: 2,
    sysctls: withOldValues(state, changes),
    endpoints: endpointLines(outcome.translation.dispatch),
    ...remember(look, outcome),
  }
}
