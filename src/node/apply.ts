/** Puts a ruleset into force: only what differs, and read back afterwards. */
import { claimLines } from '../nat/incumbents.ts'
import { compile, type Outcome } from '../pipeline.ts'
import type { Look } from '../read.ts'
import { isEmpty, makePlan, type Plan } from '../ruleset/plan.ts'
import { wantedSysctls } from '../sysctls.ts'
import type { Kernel } from './kernel.ts'
import { readState, writeState } from './state.ts'

export interface Applied {
  outcome: Outcome
  /** What had to be written; empty when everything was in force. */
  plan: Plan
  /** Sysctls that were switched, by path below /proc/sys. */
  sysctls: string[]
}

/** The kernel took what it was given but does not show it. */
class NotInForce extends Error {}

export async function apply(look: Look, kernel: Kernel, stateDir: string): Promise<Applied> {
  const inForce = await kernel.read()
  const outcome = compile(look, inForce)
  const plan = makePlan(outcome.ruleset, inForce)
  const sysctls = await changedSysctls(outcome, look, kernel)
  if (sysctls.size > 0) await remember(sysctls, stateDir)
  const loop = outcome.ruleset.loop.length > 0
  const hasLoop = await kernel.hasLoop()
  if (loop && !hasLoop) await kernel.setLoop(true)
  if (!isEmpty(plan)) {
    await kernel.write(plan)
    const left = makePlan(outcome.ruleset, await kernel.read())
    if (left.sets !== '' || left.tables[4] !== '' || left.tables[6] !== '') {
      throw new NotInForce(
        `the kernel does not show what was written: ${left.changes.map(({ what }) => what).join(', ')}`,
      )
    }
  }
  if (!loop && hasLoop) await kernel.setLoop(false)
  await rememberIncumbents(outcome, look, stateDir)
  for (const [path, { value }] of sysctls) await kernel.setSysctl(path, value)
  return { outcome, plan, sysctls: [...sysctls.keys()] }
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

/** Before the first change, so that a crash in between loses nothing; a value once remembered is never overwritten. */
async function remember(changes: Changes, stateDir: string): Promise<void> {
  const state = await readState(stateDir)
  const olds = Object.fromEntries([...changes].map(([path, { old }]) => [path, old]))
  await writeState(stateDir, { ...state, sysctls: { ...olds, ...state.sysctls } })
}

async function rememberIncumbents({ translation }: Outcome, look: Look, stateDir: string): Promise<void> {
  const keys = claimLines(translation.dispatch)
  const before = look.incumbents ?? new Set()
  if (keys.length === before.size && keys.every((key) => before.has(key))) return
  await writeState(stateDir, { ...(await readState(stateDir)), incumbents: keys })
}
