/** Finds the NAT rules that the kernel refuses, so that the others can be in force. */
import { compile } from '../pipeline.ts'
import type { Look } from '../read.ts'
import type { InForce } from '../ruleset/inforce.ts'
import { makePlan } from '../ruleset/plan.ts'
import type { CommandFailed } from './exec.ts'
import type { Kernel } from './kernel.ts'

/** A hostile file may hold many; more than these at once is a fault of another kind. */
const MAX_REFUSED = 16

/**
 * The ids of the rules to leave out. Halves the list of rules until the refused one is found, and again for the next.
 * Undefined when even no rules at all are refused: then the trial says nothing about rules. Throws the kernel's answer when there are too many.
 */
export async function withoutRefused(
  look: Look,
  inForce: InForce,
  kernel: Kernel,
  answer: CommandFailed,
): Promise<ReadonlySet<string> | undefined> {
  const refused = new Set(look.quarantined)
  const takes = async (left: ReadonlySet<string>): Promise<boolean> => {
    const { ruleset } = compile({ ...look, quarantined: left }, inForce)
    return (await kernel.preflight(ruleset, makePlan(ruleset, inForce))) === 'taken'
  }
  const active = compile(look, inForce)
    .translation.rules.filter(({ state }) => state === 'active')
    .map(({ id }) => id)
  if (!(await takes(new Set(active)))) return undefined
  while (refused.size < MAX_REFUSED) {
    if (await takes(refused)) return refused
    refused.add(
      await findRefused(
        active.filter((id) => !refused.has(id)),
        refused,
        takes,
      ),
    )
  }
  throw answer
}

/** The first rule of a list with which the kernel refuses, given that it takes none of them. */
async function findRefused(
  ids: readonly string[],
  refused: ReadonlySet<string>,
  takes: (left: ReadonlySet<string>) => Promise<boolean>,
): Promise<string> {
  let [lo, hi] = [0, ids.length]
  while (hi - lo > 1) {
    const middle = (lo + hi) >> 1
    if (await takes(new Set([...refused, ...ids.slice(middle)]))) lo = middle
    else hi = middle
  }
  return ids[lo] ?? ''
}
