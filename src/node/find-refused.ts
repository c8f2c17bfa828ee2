/**
 * Finds the NAT rules that the kernel refuses, so that the others can be in force.
 *
 * A restore program stops at the first line that is refused, names it, and keeps every table that it has committed before. So
 * suspects are tried in one run, each as a table; the line leads to the suspect, and the suspects behind it are tried in the next run. For N
 * refused suspects this takes N + 1 runs. Suspects are
 * 1. kinds: a protocol, a type of set. A missing module excludes all rules of its kind and no other, in a few runs;
 * 2. the sets, then the rules, of each scope. Up to MAX_SINGLE refused rules of a scope are excluded singly, more of them exclude the scope.
 * In total it takes K + (MAX_SINGLE + 2) x S + 6 runs for K refused kinds and S refused scopes (a scope counts for its sets
 * and for each family), for any number of refused rules.
 */
import { FAMILIES, type Family } from '../address.ts'
import { groupBy } from '../lists.ts'
import { NOTHING_INSTALLED } from '../ruleset/installed.ts'
import { SELF_HAIRPIN } from '../ruleset/self-hairpin.ts'
import { setsOf, type Rule, type Ruleset, type Table } from '../ruleset/ruleset.ts'
import { makePlan, NOTHING } from '../ruleset/plan.ts'
import { chainText } from '../ruleset/restore-text.ts'
import type { CommandFailed } from './exec.ts'
import { isMissing, type Part, type Trial } from './preflight.ts'

const MAX_SINGLE = 8

/** Ids of NAT rules that the kernel refuses, each with its answer in a few words. */
export type Refused = ReadonlyMap<string, string>

/** Text that a program takes or refuses as a whole, and the rules that cannot be without it. */
interface Suspect {
  part: Part
  text: string
  ids: readonly string[]
}

/** The rules of a ruleset that are refused. Throws the answer when it names no line of a rule. */
export async function findRefused(trial: Trial, ruleset: Ruleset): Promise<Refused> {
  const refused = new Map<string, string>()
  const note = ({ ids }: Suspect, answer: string): void =>
    ids.forEach((id) => refused.set(id, refused.get(id) ?? answer))
  const rules = FAMILIES.flatMap((family) =>
    ruleset.chains[family].flatMap(({ table, rules: own }) =>
      own.map((rule): Placed => ({ family, table, rule })),
    ),
  )
  const isLeft = ({ ids }: Suspect): boolean => ids.some((id) => !refused.has(id))
  for (const [suspect, answer] of await refusedOf(trial, kinds(ruleset, rules))) note(suspect, answer)
  for (const groups of [setsByOwner(ruleset, rules), rulesByScope(rules)]) {
    const members = new Map(groups.map((one) => one.filter(isLeft)).map((one) => [whole(one), one]))
    for (const [scope, answer] of await refusedOf(trial, [...members.keys()])) {
      const single = await refusedOf(trial, members.get(scope) ?? [], MAX_SINGLE + 1)
      if (single.size === 0 || single.size > MAX_SINGLE) note(scope, answer)
      else for (const [one, reason] of single) note(one, reason)
    }
  }
  return refused
}

/** Which suspects are refused, each with the answer; no more than `most` are looked for. */
async function refusedOf(
  trial: Trial,
  suspects: readonly Suspect[],
  most = Infinity,
): Promise<Map<Suspect, string>> {
  const refused = new Map<Suspect, string>()
  for (const part of ['ipset', ...FAMILIES] as const) {
    let rest = suspects.filter((one) => one.part === part && one.text !== '')
    while (rest.length > 0 && refused.size < most) {
      const failure = await trial.restore(part, rest.map(({ text }) => text).join(''))
      if (!failure) break
      const at = isMissing(failure) ? 0 : indexOf(rest, lineOf(failure))
      const suspect = rest[at]
      if (!suspect || (isMissing(failure) && part !== 'ipset')) throw failure
      refused.set(suspect, words(failure))
      rest = rest.slice(at + 1)
    }
  }
  return refused
}

/** The suspect that holds a line of their texts together, counted from 1. */
function indexOf(suspects: readonly Suspect[], line: number): number {
  let seen = 0
  return suspects.findIndex(({ text }) => (seen += text.split('\n').length - 1) >= line)
}

interface Placed {
  family: Family
  table: Table
  rule: Rule
}

/** Ids of the rules that use one of these sets; for sets of self-hairpin, its word. */
function usersOf(rules: readonly Placed[], names: ReadonlySet<string>): string[] {
  return rules
    .filter(({ rule }) => setsOf(rule).some(({ name }) => names.has(name)))
    .map(({ rule }) => rule.serves ?? SELF_HAIRPIN)
}

/** One of each protocol, with and without ports, and one set of each type. */
function kinds({ sets }: Ruleset, rules: readonly Placed[]): Suspect[] {
  const byType = listsBy(sets, ({ type, family }) => `${type} ${family}`)
  const byProto = listsBy(rules, ({ family, rule: { proto, ports, sport } }) =>
    proto === undefined ? undefined : `${family} ${proto} ${ports || sport ? 'ports' : ''}`,
  )
  return [
    ...byType.flatMap((same): Suspect[] => {
      const [first] = same
      if (!first) return []
      const { type, family } = first
      const text = setText([{ name: `pvenat-try-${type.length}-v${family}`, type, family, entries: [] }])
      return [{ part: 'ipset', text, ids: usersOf(rules, new Set(same.map(({ name }) => name))) }]
    }),
    ...byProto.flatMap((same): Suspect[] => {
      const [first] = same
      if (!first) return []
      const { proto, ports, sport } = first.rule
      const rule: Rule = {
        ...(proto ? { proto } : {}),
        ...((ports ?? sport) ? { ports: [1, 1] } : {}),
        target: { kind: 'accept' },
      }
      return [{ part: first.family, text: ruleText([{ ...first, table: 'filter', rule }]), ids: idsOf(same) }]
    }),
  ]
}

/** The sets of each owner, as their names tell (nat/match.ts). */
function setsByOwner({ sets }: Ruleset, rules: readonly Placed[]): Suspect[][] {
  return listsBy(sets, ({ name }) => name.split('-')[1]).map((own) =>
    own.map((set) => ({ part: 'ipset', text: setText([set]), ids: usersOf(rules, new Set([set.name])) })),
  )
}

/** The rules that each scope's NAT rules came to, a NAT rule and a table at a time. */
function rulesByScope(rules: readonly Placed[]): Suspect[][] {
  const served = rules.filter(({ rule }) => rule.serves !== undefined)
  const scopes = listsBy(
    served,
    ({ family, rule: { serves = '' } }) => `${family} ${serves.split('-', 1)[0]}`,
  )
  return scopes.map((own) =>
    listsBy(own, ({ table, rule }) => `${table} ${rule.serves}`).map((same) => ({
      part: (same[0] as Placed).family,
      text: ruleText(same),
      ids: idsOf(same),
    })),
  )
}

function whole(members: readonly Suspect[]): Suspect {
  return {
    part: members[0]?.part ?? 'ipset',
    text: members.map(({ text }) => text).join(''),
    ids: members.flatMap(({ ids }) => ids),
  }
}

function idsOf(rules: readonly Placed[]): string[] {
  return rules.flatMap(({ rule: { serves } }) => serves ?? [])
}

function setText(sets: Ruleset['sets']): string {
  return makePlan({ ...NOTHING, sets }, NOTHING_INSTALLED).sets
}

/** A table for rules of one. The chain is where no packet comes; a jump to another chain of ours is an accept here. */
function ruleText(rules: readonly Placed[]): string {
  const [first] = rules
  if (!first) return ''
  const plain = rules.map(({ rule }): Rule =>
    'chain' in rule.target ? { ...rule, target: { kind: 'accept' } } : rule,
  )
  const lines = chainText({ table: first.table, name: 'PVENAT-TRY', rules: plain }, first.family)
  return [`*${first.table}`, ':PVENAT-TRY - [0:0]', ...lines.map(({ line }) => line), 'COMMIT\n'].join('\n')
}

function listsBy<T>(all: readonly T[], keyOf: (one: T) => string | undefined): T[][] {
  const groups = groupBy(all, keyOf)
  groups.delete(undefined)
  return [...groups.values()]
}

function lineOf({ finished: { stderr } }: CommandFailed): number {
  return Number(/line:? (\d+)/i.exec(stderr.slice(0, 2000))?.[1] ?? NaN)
}

const MAX_WORDS = 120

/** The program's message, without its own name and the places in its input. */
function words({ finished: { stderr } }: CommandFailed): string {
  const [first = ''] = stderr
    .slice(0, 2000)
    .split('\n')
    .map((line) =>
      line.replace(/^\S+ v[\d.]+( \(\w+\))?: ?/, '').replace(/(error )?(in )?line:? \d+: */i, ''),
    )
    .filter((line) => line.trim() !== '')
  return /line \d+ failed$/.test(first) ? 'it does not say why' : first.trim().slice(0, MAX_WORDS)
}
