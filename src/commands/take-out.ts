/** NAT rules of others are deleted, and put back where they were. */
import { iptables, saveProgram } from '../facts/backend.ts'
import { tokens, unquoted } from '../facts/foreign.ts'
import type { NativePlace, Written } from '../import/foreign-rule.ts'
import type { Imported } from '../import/trial.ts'
import { field, listOf, members, parseJson } from '../json.ts'
import { must } from '../node/exec.ts'

type Step = () => Promise<unknown>

/** Deletes the rules one by one; `undo` gets the step that puts those back that were deleted. */
export async function takeOut(chosen: readonly Imported[], undo: Step[]): Promise<void> {
  const back: Step[] = []
  undo.push(() => inTurn(back))
  for (const { written } of chosen) {
    const { loaded } = written
    if (!loaded) continue
    const step = 'native' in loaded ? await deleteNative(loaded.native) : await deleteRule(loaded, written)
    // The last one comes back first: so it finds the chain as it left it.
    if (step) back.unshift(step)
  }
}

/** Runs each of them, also when one before it failed; throws what failed. */
export async function inTurn(steps: readonly Step[]): Promise<void> {
  const failures: string[] = []
  for (const step of steps) await step().catch(({ message }: Error) => failures.push(message))
  if (failures.length > 0) throw new Error(failures.join('\n  '))
}

type OfIptables = Exclude<NonNullable<Written['loaded']>, { native: unknown }>

/** Gives the step that puts it back; undefined when it is not there any more. */
async function deleteRule(
  { backend, table, chain, line }: OfIptables,
  { family }: Written,
): Promise<Step | undefined> {
  const program = iptables(backend, family)
  const saved = (await must(saveProgram(backend, family), ['-t', table])).split('\n')
  const position = saved.filter((one) => one.startsWith(`-A ${chain} `)).indexOf(line)
  if (position < 0) return undefined
  const rest = tokens(line).slice(2).map(unquoted)
  await must(program, ['-w', '-t', table, '-D', chain, ...rest])
  return () => must(program, ['-w', '-t', table, '-I', chain, `${position + 1}`, ...rest])
}

/** As `deleteRule`. A rule that nft would not read as it prints it is not deleted; libnftables-json(5). */
async function deleteNative({ family, table, chain, handle }: NativePlace): Promise<Step | undefined> {
  const listing = parseJson(await must('nft', ['-j', 'list', 'chain', family, table, chain]))
  const rules = listOf(field(listing, 'nftables')).flatMap((one) => field(one, 'rule') ?? [])
  const position = rules.findIndex((one) => field(one, 'handle') === handle)
  if (position < 0) return undefined
  const rule = Object.fromEntries(members(rules[position]).filter(([key]) => key !== 'handle'))
  const command = position === 0 ? { insert: { rule } } : { add: { rule: { ...rule, index: position - 1 } } }
  // As an argument: from standard input nft reads JSON only where that is a pipe.
  const text = JSON.stringify({ nftables: [command] })
  await must('nft', ['--check', '--json', text])
  await must('nft', ['delete', 'rule', family, table, chain, 'handle', `${handle}`])
  return () => must('nft', ['--json', text])
}
