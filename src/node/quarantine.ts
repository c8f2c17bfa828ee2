/** Finds the NAT rules that the kernel refuses, so that the others can be in force. */
import { compile } from '../pipeline.ts'
import type { Look } from '../read.ts'
import { NOTHING_IN_FORCE, type InForce } from '../ruleset/inforce.ts'
import type { Ruleset } from '../ruleset/model.ts'
import { makePlan } from '../ruleset/plan.ts'
import { CommandFailed } from './exec.ts'
import type { Kernel } from './kernel.ts'

/** A hostile file may hold many; more than these at once is a fault of another kind. */
const MAX_REFUSED = 16

/** Ids of NAT rules that the kernel refuses, each with its answer in a few words. */
export type Refused = ReadonlyMap<string, string>

/**
 * The rules to leave out, those of `look` that are still refused among them. Halves the list of rules until the refused one is
 * found, and again for the next. Undefined when even no rules at all are refused: then the trial says nothing about rules.
 * Throws the kernel's answer when there are too many.
 */
export async function withoutRefused(
  look: Look,
  inForce: InForce,
  kernel: Kernel,
  answer: CommandFailed,
): Promise<Refused | undefined> {
  let said = answer
  const takes = async (left: Iterable<string>): Promise<boolean> => {
    const quarantined = new Map([...left].map((id) => [id, '']))
    const { ruleset } = compile({ ...look, quarantined }, inForce)
    const verdict = await kernel.preflight(ruleset, makePlan(ruleset, inForce))
    if (verdict instanceof CommandFailed) said = verdict
    return verdict === 'taken'
  }
  const active = compile({ ...look, quarantined: new Map() }, inForce)
    .translation.rules.filter(({ state }) => state === 'active')
    .map(({ id }) => id)
  if (!(await takes(active))) return undefined
  const refused = new Map([...(look.quarantined ?? [])].filter(([id]) => active.includes(id)))
  while (!(await takes(refused.keys()))) {
    if (refused.size >= MAX_REFUSED) throw answer
    const others = active.filter((id) => !refused.has(id))
    const id = await findRefused(others, refused, takes)
    refused.set(id, words(said))
  }
  return refused
}

/** The first rule of a list with which the kernel refuses, given that it takes none of them. */
async function findRefused(
  ids: readonly string[],
  refused: Refused,
  takes: (left: Iterable<string>) => Promise<boolean>,
): Promise<string> {
  let [lo, hi] = [0, ids.length]
  while (hi - lo > 1) {
    const middle = (lo + hi) >> 1
    if (await takes([...refused.keys(), ...ids.slice(middle)])) lo = middle
    else hi = middle
  }
  return ids[lo] ?? ''
}

/**
 * Whether the kernel takes what it took before. If it does not, a trial says nothing about rules: a program or a module is missing,
 * and what is in force must stay.
 */
export async function stillTakes(before: Ruleset, kernel: Kernel): Promise<boolean> {
  return (await kernel.preflight(before, makePlan(before, NOTHING_IN_FORCE))) === 'taken'
}

const MAX_WORDS = 120

/** What the program said, without its own name and the places in its input. */
function words({ finished: { stderr } }: CommandFailed): string {
  const [first = ''] = stderr
    .split('\n')
    .map((line) =>
      line.replace(/^\S+ v[\d.]+( \(\w+\))?: ?/, '').replace(/(error )?(in )?line:? \d+: */i, ''),
    )
    .filter((line) => line.trim() !== '')
  return first.trim().slice(0, MAX_WORDS)
}
