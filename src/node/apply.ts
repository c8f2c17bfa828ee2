/** Puts a ruleset into force: tried first, only what differs, read back afterwards, stale flows ended. */
import { setTimeout as delay } from 'node:timers/promises'
import { endpointLines } from '../nat/flows.ts'
import { claimLines } from '../nat/incumbents.ts'
import { compile, type Outcome } from '../pipeline.ts'
import type { Look } from '../read.ts'
import type { InForce } from '../ruleset/inforce.ts'
import type { Ruleset } from '../ruleset/model.ts'
import { isEmpty, makePlan, type Plan } from '../ruleset/plan.ts'
import { wantedSysctls } from '../sysctls.ts'
import { endStaleFlows } from './conntrack.ts'
import { CommandFailed } from './exec.ts'
import type { Kernel } from './kernel.ts'
import { withoutRefused } from './quarantine.ts'
import { readState, writeState, type State } from './state.ts'

export interface Applied {
  outcome: Outcome
  /** What had to be written; empty when everything was in force. */
  plan: Plan
  /** Sysctls that were switched, by path below /proc/sys. */
  sysctls: string[]
  /** Flows that were ended because they went an old way. */
  endedFlows: number
  /** Ids of NAT rules that the kernel refuses, old and new. */
  quarantined: ReadonlySet<string>
}

const MAX_TRIES = 20
const BUSY_MS = 50

/** The kernel took what it was given but does not show it. */
export class NotInForce extends Error {}

/** One pass. Throws when the kernel does not take or show it; `warn` hears of what went wrong besides. */
export async function apply(
  look: Look,
  kernel: Kernel,
  stateDir: string,
  warn: (message: string) => void,
): Promise<Applied> {
  const inForce = await kernel.read()
  const { outcome, plan, quarantined } = await settle(look, inForce, kernel)
  const state = await readState(stateDir, warn)
  const sysctls = await changedSysctls(outcome, look, kernel)
  const next = nextState(state, outcome, sysctls)
  // Before the first change, so that a crash in between loses nothing.
  if (sysctls.size > 0) await save(stateDir, { ...state, sysctls: next.sysctls }, warn)
  await write(outcome, plan, kernel)
  for (const [path, { value }] of sysctls) await kernel.setSysctl(path, value)
  const endedFlows =
    isSame(state.endpoints, next.endpoints) && isEmpty(plan) ? 0 : await endFlows(look, outcome, state, warn)
  const isKnown = isSame(state.incumbents, next.incumbents) && isSame(state.endpoints, next.endpoints)
  if (!isKnown) await save(stateDir, next, warn)
  return { outcome, plan, sysctls: [...sysctls.keys()], endedFlows, quarantined }
}

/** What is wanted and what must be written for it, without the rules that the kernel refuses. */
async function settle(
  look: Look,
  inForce: InForce,
  kernel: Kernel,
): Promise<Pick<Applied, 'outcome' | 'plan' | 'quarantined'>> {
  const quarantined = look.quarantined ?? new Set<string>()
  const outcome = compile(look, inForce)
  const plan = makePlan(outcome.ruleset, inForce)
  const verdict = isEmpty(plan) ? 'taken' : await kernel.preflight(outcome.ruleset, plan)
  if (verdict === 'taken' || verdict === 'untried') return { outcome, plan, quarantined }
  const refused = await withoutRefused(look, inForce, kernel, verdict)
  if (!refused) return { outcome, plan, quarantined }
  const reduced = compile({ ...look, quarantined: refused }, inForce)
  return { outcome: reduced, plan: makePlan(reduced.ruleset, inForce), quarantined: refused }
}

/** Interfaces of the loop come before the rules that use them and go after them. */
async function write({ ruleset }: Outcome, plan: Plan, kernel: Kernel): Promise<void> {
  const { loop } = ruleset
  const hasLoop = await kernel.hasLoop(loop)
  if (loop.length > 0 && !hasLoop) await kernel.setLoop(loop)
  if (!isEmpty(plan)) {
    await writeSteadily(ruleset, plan, kernel)
    const left = makePlan(ruleset, await kernel.read())
    if (left.sets !== '' || left.tables[4] !== '' || left.tables[6] !== '') {
      const what = left.changes.map((change) => change.what).join(', ')
      throw new NotInForce(`the kernel does not show what was written: ${what}`)
    }
  }
  if (loop.length === 0 && hasLoop) await kernel.setLoop([])
}

/** While somebody lists all sets (pve-firewall does in each of its cycles), none can be swapped. */
async function writeSteadily(ruleset: Ruleset, first: Plan, kernel: Kernel): Promise<void> {
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

function endFlows(
  { settings }: Look,
  { translation }: Outcome,
  state: State,
  warn: (message: string) => void,
): Promise<number> {
  const endpoints = new Set([...state.endpoints, ...endpointLines(translation.dispatch)])
  return endStaleFlows(translation.dispatch, endpoints, settings.cutRemoved, warn)
}

type Changes = Map<string, { old: string; value: string }>

async function changedSysctls({ ruleset }: Outcome, look: Look, kernel: Kernel): Promise<Changes> {
  const changes: Changes = new Map()
  const names = look.network.external.map(({ name }) => name)
  for (const [path, value] of wantedSysctls(ruleset, names)) {
    const old = await kernel.sysctl(path)
    // accept_ra 0 is a choice; only 1 means "unless forwarding".
    const chosen = path.endsWith('/accept_ra') && old === '0'
    if (old !== undefined && old !== value && !chosen) changes.set(path, { old, value })
  }
  return changes
}

/** A sysctl's value from before the first change is never overwritten. */
function nextState(state: State, { translation }: Outcome, changes: Changes): State {
  const olds = Object.fromEntries([...changes].map(([path, { old }]) => [path, old]))
  return {
    ...state,
    sysctls: { ...olds, ...state.sysctls },
    incumbents: claimLines(translation.dispatch),
    endpoints: endpointLines(translation.dispatch),
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i])
}

/** A disk that is full must not keep NAT from working; what is then not remembered is said. */
async function save(stateDir: string, state: State, warn: (message: string) => void): Promise<void> {
  try {
    await writeState(stateDir, state)
  } catch (error) {
    warn(
      `cannot write ${stateDir}/state.json: ${(error as Error).message}; NAT works, but who had which port is not remembered`,
    )
  }
}
