/** Whether what a walk through the wanted rules rests on is what the kernel has: by jump, hash of every rule, and members of sets. */
import type { Family } from '../address.ts'
import type { Fix, Trail } from './step.ts'
import { HOOKS, type Rule, type Table } from '../ruleset/model.ts'
import { chainText } from '../ruleset/text.ts'
import type { Hit, Walked } from './walk.ts'
import type { World } from './world.ts'

/** What to do when wanted and in force differ. */
export const APPLY: Fix = { commands: ['systemctl status pvenat', 'pvenat apply'] }

/** Stops the way when the walked rules are wanted but not in force. Says nothing when they are: the step before names them. */
export function requireInForce(
  world: World,
  family: Family,
  table: Table,
  root: string,
  walked: Walked,
  trail: Trail,
): void {
  const problem = differs(world, family, table, root, walked)
  if (problem === undefined) return
  const running = world.facts.service.running ? 'pvenat.service runs' : 'pvenat.service does not run'
  const restsOn = [`table ${table} in the kernel`, running]
  if (!walked.hit || decides(world, family, table, root, walked.hit))
    return trail.unknown(
      `What is in force is not all that is wanted: ${problem}. Explain tells what is wanted; to have it in force: pvenat apply.`,
      ...restsOn,
    )
  trail.stop(`This is wanted, but it is not in force: ${problem}.`, restsOn, APPLY)
}

/**
 * Whether the very rule that decided stands in the kernel among others than are wanted. Its hash tells of all rules before it, too, so
 * its words are compared; that is good enough for a doubt, and would not be for writing.
 */
function decides({ inForce }: World, family: Family, table: Table, root: string, hit: Hit): boolean {
  const saved = inForce.chains[family]
  const hook = HOOKS.find((one) => one.table === table && one.to === root)
  const { name } = hit.chain
  const isLed =
    name === root ||
    [...saved.own.values()].some((rules) =>
      rules.some(({ line }) => new RegExp(` -[jg] ${name}$`).test(line)),
    )
  const wanted = wordsOf(chainText(hit.chain, family)[hit.index]?.line ?? '')
  const isThere = saved.own.get(`${table} ${name}`)?.some(({ line }) => wordsOf(line) === wanted) ?? false
  const hasSets = setsOf(hit.rule).every(
    (set) => inForce.sets.get(set.name)?.entries.join() === set.entries.join(),
  )
  return isLed && isThere && hasSets && (!hook || saved.hooks.has(`${table} ${hook.from} ${root}`))
}

function wordsOf(line: string): string {
  const bare = line
    .replace(/ -m comment --comment "?pvenat:[0-9a-z]+"?/, '')
    .replace(/\/(32|128)(?= |$)/g, '')
  return bare.split(' ').sort().join(' ')
}

/** What differs on the way of a walk, in a clause; undefined when nothing does. */
function differs(
  { inForce, ruleset }: World,
  family: Family,
  table: Table,
  root: string,
  { visited, hit }: Walked,
): string | undefined {
  const saved = inForce.chains[family]
  const hook = HOOKS.find((one) => one.table === table && one.to === root)
  const isThere = saved.own.has(`${table} ${root}`)
  // Nothing wanted, nothing there: nothing happens either way.
  if (!hit && !isThere) return undefined
  if (hook && visited.length > 0 && !saved.hooks.has(`${table} ${hook.from} ${root}`))
    return `there is no jump from ${hook.from} to ${root}`
  for (const { chain, last } of visited) {
    const own = saved.own.get(`${table} ${chain.name}`)
    if (!own) return `chain ${chain.name} is not in the kernel`
    const wanted = chainText(chain, family)
    // Rules behind the one that decided do not matter.
    const length = last + 1
    const at = wanted.slice(0, length).findIndex(({ hash }, i) => own[i]?.hash !== hash)
    if (at >= 0) return `rule ${at + 1} of chain ${chain.name} is missing or another one`
    const whole = !hit && last === chain.rules.length - 1
    if (whole && own.length > wanted.length) return `chain ${chain.name} has more rules than are wanted`
    const set = chain.rules
      .slice(0, length)
      .flatMap(setsOf)
      .find(({ name, entries }) => {
        const members = inForce.sets.get(name)?.entries
        return members?.length !== entries.length || members.some((entry, i) => entry !== entries[i])
      })
    if (set) return `ipset ${set.name} is missing or holds something else`
  }
  if (!isThere && ruleset.chains[family].length > 0) return `chain ${root} is not in the kernel`
  return undefined
}

function setsOf({ source, destination, pair }: Rule): { name: string; entries: readonly string[] }[] {
  return [source?.set, destination?.set, pair].flatMap((set) => (set ? [set] : []))
}
