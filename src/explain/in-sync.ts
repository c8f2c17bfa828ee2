/** Whether what a walk through the wanted rules rests on is what the kernel has: by jump, hash of every rule, and members of sets. */
import type { Family } from '../address.ts'
import { isLoaded } from '../ruleset/installed.ts'
import { HOOKS, setsOf, type Hook } from '../ruleset/ruleset.ts'
import { chainText, withoutMark } from '../ruleset/restore-text.ts'
import type { Fix, Trail } from './step.ts'
import type { Hit, Walked } from './walk.ts'
import type { World } from './world.ts'

/** What to do when wanted and in force differ. */
export const APPLY: Fix = { commands: ['systemctl status pvenat', 'pvenat apply'] }

/** Stops the way when the walked rules are wanted but not in force. Says nothing when they are: the step before names them. */
export function requireInForce(world: World, family: Family, walked: Walked, trail: Trail): void {
  const problem = differs(world, family, walked)
  if (problem === undefined) return
  const running = world.facts.service.running ? 'pvenat.service runs' : 'pvenat.service does not run'
  const restsOn = [`table ${walked.hook.table} in the kernel`, running]
  if (!walked.hit || decides(world, family, walked.hook, walked.hit))
    return trail.unknown(
      `What is in force is not all that is wanted: ${problem}. Explain tells what is wanted; to have it in force: pvenat apply.`,
      ...restsOn,
    )
  trail.stop(`This is wanted, but it is not in force: ${problem}.`, restsOn, APPLY)
}

/** What differs in the chains that set the marks of uplinks, in a clause; undefined when nothing does. */
export function marksDiffer(world: World, family: Family): string | undefined {
  const hook = HOOKS.find(({ to }) => to === 'PVENAT-UPLINK') as Hook
  const chains = world.ruleset.chains[family].filter(({ name }) => MARKING.test(name))
  if (chains.length > 0 && !world.installed.chains[family].own.has(`${hook.table} ${hook.to}`))
    return `chain ${hook.to} is not in the kernel`
  return differs(world, family, {
    hook,
    visited: chains.map((chain) => ({ chain, last: chain.rules.length - 1 })),
  })
}

const MARKING = /^PVENAT-(?:UPLINK|ANSWERS|LEAVING|STAYING)$/

/**
 * Whether the very rule that decided stands in the kernel among others than are wanted. Its hash tells of all rules before it, too, so
 * its words are compared; that is good enough for a doubt, and would not be for writing.
 */
function decides({ installed }: World, family: Family, hook: Hook, hit: Hit): boolean {
  const { own, hooks } = installed.chains[family]
  const { name } = hit.chain
  const leads = new RegExp(` -[jg] ${name}$`)
  const isLed =
    name === hook.to || [...own.values()].some((rules) => rules.some(({ line }) => leads.test(line)))
  const wanted = wordsOf(chainText(hit.chain, family)[hit.index]?.line ?? '')
  const isThere = own.get(`${hook.table} ${name}`)?.some(({ line }) => wordsOf(line) === wanted) ?? false
  return (
    isLed && isThere && setsOf(hit.rule).every((set) => isLoaded(set, installed)) && hooks.has(keyOf(hook))
  )
}

function wordsOf(line: string): string {
  const words = withoutMark(line).replace(/\/(32|128)(?= |$)/g, '')
  return words.split(' ').sort().join(' ')
}

/** What differs on the way of a walk, in a clause; undefined when nothing does. */
function differs(
  { installed, ruleset }: World,
  family: Family,
  { hook, visited, hit }: Walked,
): string | undefined {
  const { own: saved, hooks } = installed.chains[family]
  const isThere = saved.has(`${hook.table} ${hook.to}`)
  // Nothing wanted, nothing there: nothing happens either way.
  if (!hit && !isThere) return undefined
  if (visited.length > 0 && !hooks.has(keyOf(hook))) return `there is no jump from ${hook.from} to ${hook.to}`
  for (const { chain, last } of visited) {
    const own = saved.get(`${hook.table} ${chain.name}`)
    if (!own) return `chain ${chain.name} is not in the kernel`
    const wanted = chainText(chain, family)
    // Rules behind the one that decided do not matter.
    const at = wanted.slice(0, last + 1).findIndex(({ hash }, i) => own[i]?.hash !== hash)
    if (at >= 0) return `rule ${at + 1} of chain ${chain.name} is missing or another one`
    const whole = !hit && last === chain.rules.length - 1
    if (whole && own.length > wanted.length) return `chain ${chain.name} has more rules than are wanted`
    const sets = chain.rules.slice(0, last + 1).flatMap(setsOf)
    const set = sets.find((one) => !isLoaded(one, installed))
    if (set) return `ipset ${set.name} is missing or holds something else`
  }
  if (!isThere && ruleset.chains[family].length > 0) return `chain ${hook.to} is not in the kernel`
  return undefined
}

/** As what is in force has it. */
function keyOf({ table, from, to }: Hook): string {
  return `${table} ${from} ${to}`
}
