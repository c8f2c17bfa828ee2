/** Desired and installed ruleset → the smallest diff, as text for the kernel's restore programs. */
import { FAMILIES, type Family } from '../address.ts'
import type { KernelSet } from '../nat/nat-rule.ts'
import type { Change } from './change.ts'
import type { Installed, SavedRule, SavedTables } from './installed.ts'
import { HOOKS, KERNEL_CHAINS, NO_ROUTING, TABLES } from './ruleset.ts'
import type { Routing, Ruleset, RuleText, Table } from './ruleset.ts'
import { marksFirst } from './marks-first.ts'
import { NO_ROUTING_PLAN, planRouting, type RoutingPlan } from './routing.ts'
import { likeness } from './restore-text.ts'
import { planSets } from './sets.ts'

export interface Plan {
  /** For `ipset restore`, before the tables; '' for nothing. */
  sets: string
  /** For `iptables-restore --noflush`, one text a family; '' for nothing. */
  tables: Record<Family, string>
  /** Sets to destroy when no rule uses them any more. */
  staleSets: string[]
  /** Own routing rules and routes. */
  routing: Record<Family, RoutingPlan>
  /** The changes a chain or set at a time, for people. */
  changes: Change[]
}

export const NOTHING: Ruleset = {
  chains: { 4: [], 6: [] },
  sets: [],
  loop: [],
  routing: { 4: NO_ROUTING, 6: NO_ROUTING },
  loose: [],
  hasBridgeZone: false,
}

export const EMPTY_PLAN: Plan = {
  sets: '',
  tables: { 4: '', 6: '' },
  staleSets: [],
  routing: { 4: NO_ROUTING_PLAN, 6: NO_ROUTING_PLAN },
  changes: [],
}

/** Whether desired and installed ruleset are in sync. */
export function isEmpty(plan: Plan): boolean {
  return isComplete(plan) && plan.staleSets.length === 0
}

/** Whether they are in sync but for unused sets. */
export function isComplete({ sets, tables, routing }: Plan): boolean {
  const isRouted = FAMILIES.every(
    (family) => routing[family].before.length + routing[family].after.length === 0,
  )
  return sets === '' && tables[4] === '' && tables[6] === '' && isRouted
}

/** A chain as text. */
interface TextChain {
  table: Table
  name: string
  rules: readonly RuleText[]
}

/** A ruleset as text, all of which JSON can hold. */
export interface TextRuleset {
  chains: Record<Family, readonly TextChain[]>
  sets: readonly KernelSet[]
  /** Undefined in what an older version saved. */
  routing?: Record<Family, Routing>
}

/** The plan that turns the installed ruleset into the desired one. */
export function makePlan(ruleset: Ruleset, installed: Installed): Plan {
  return planText(toText(ruleset), installed)
}

export function toText({ chains, sets, routing }: Ruleset): TextRuleset {
  const text = (family: Family): TextChain[] =>
    chains[family].map(({ table, name, texts }) => ({ table, name, rules: texts }))
  return { chains: { 4: text(4), 6: text(6) }, sets, routing }
}

/**
 * The installed rules with the strings of the ruleset. A string that was cut out of a program's output would keep all of the output in memory.
 * Rules that were there `before` have such strings already.
 */
export function inWordsOf(
  ruleset: Ruleset,
  { chains, sets, routing }: Installed,
  before?: Installed,
): Installed {
  const text = toText(ruleset)
  const worded = (family: Family): SavedTables => {
    const own = new Map(chains[family].own)
    for (const { table, name, rules } of text.chains[family]) {
      const saved = own.get(`${table} ${name}`) ?? []
      const last = before?.chains[family].own.get(`${table} ${name}`) ?? []
      const same = rules.map((rule, i) => {
        const one = saved[i]
        return one && one === last[i] ? one : { packets: 0, bytes: 0, ...one, ...rule }
      })
      own.set(`${table} ${name}`, same)
    }
    return { ...chains[family], own }
  }
  const named = new Map(sets)
  for (const { name, entries } of text.sets) {
    const saved = named.get(name)
    // Anew: a name that is there already stays the string that it was.
    named.delete(name)
    if (saved) named.set(name, { ...saved, entries })
  }
  return { chains: { 4: worded(4), 6: worded(6) }, sets: named, routing }
}

/** The plan that restores the ruleset of before. */
export function makeUndo(before: Installed, installed: Installed): Plan {
  const text = (family: Family): TextChain[] =>
    [...before.chains[family].own].map(([key, rules]) => {
      const [table, name = ''] = key.split(' ')
      return { table: table as Table, name, rules: rules.map(({ hash = '', line }) => ({ hash, line })) }
    })
  const sets = [...before.sets].map(
    ([name, { type, family, entries }]) => ({ name, type, family, entries }) as KernelSet,
  )
  return planText({ chains: { 4: text(4), 6: text(6) }, sets, routing: before.routing }, installed)
}

/** As `makePlan`, for a ruleset that is text already. */
export function planText(wanted: TextRuleset, installed: Installed): Plan {
  const changes: Change[] = []
  const sets = planSets(wanted.sets, installed.sets, changes)
  const tables = { 4: '', 6: '' }
  for (const family of FAMILIES)
    tables[family] = planFamily(wanted.chains[family], installed.chains[family], family, changes)
  const routed = (family: Family): RoutingPlan =>
    planRouting(wanted.routing?.[family] ?? NO_ROUTING, installed.routing[family], family, changes)
  const routing = { 4: routed(4), 6: routed(6) }
  const names = new Set(wanted.sets.map(({ name }) => name))
  const staleSets = [...installed.sets.keys()].filter((name) => !names.has(name))
  for (const name of staleSets) {
    changes.push({
      kind: 'remove',
      what: `set ${name}`,
      family: installed.sets.get(name)?.family ?? 4,
      removed: [],
      added: [],
    })
  }
  return { sets, tables, staleSets, routing, changes }
}

/** Rules that let packets pass (zone, accepts) or mark them are written before rules that send them, and removed after them. */
function planFamily(
  wanted: readonly TextChain[],
  saved: SavedTables,
  family: Family,
  changes: Change[],
): string {
  const tables = wanted.length > 0 ? TABLES : [...TABLES].reverse()
  const parts = tables.map((table) => ({ table, lines: planTable(table, wanted, saved, family, changes) }))
  const letting = wanted.length > 0 ? stillLetting(wanted, saved) : []
  if (letting.length > 0) {
    parts.find(({ table }) => table === 'filter')?.lines.push(...letting.flatMap(({ old }) => old))
    const exact = letting.flatMap(({ chain: { name, rules } }) => [
      `:${name} - [0:0]`,
      ...rules.map(({ line }) => line),
    ])
    parts.push({ table: 'filter', lines: exact })
  }
  const nat = parts.findIndex(({ table }) => table === 'nat')
  parts.splice(nat, 0, { table: 'mangle', lines: marksFirst(wanted, saved) })
  return parts
    .filter(({ lines }) => lines.length > 0)
    .map(({ table, lines }) => `*${table}\n${lines.join('\n')}\nCOMMIT\n`)
    .join('')
}

/**
 * Filter chains that would let less through before the nat table follows. Until then they accept the packets of the old and of the new
 * ruleset: there is no commit over two tables.
 */
function stillLetting(
  wanted: readonly TextChain[],
  saved: SavedTables,
): { chain: TextChain; old: string[] }[] {
  return wanted.flatMap((chain) => {
    const old = chain.table === 'filter' ? (saved.own.get(`filter ${chain.name}`) ?? []) : []
    const isOnlyLonger = old.every(({ hash }, i) => hash === chain.rules[i]?.hash)
    const accepts = old
      .flatMap(({ line }, i) => (line.endsWith(' -j ACCEPT') ? [placed(line, old.slice(i), chain)] : []))
      .reverse()
    return isOnlyLonger || accepts.length === 0 ? [] : [{ chain, old: accepts }]
  })
}

/**
 * The place of an old accept in the new chain: before the RETURN that it stood before, else at the end. Several accepts are inserted from the
 * last to the first, so that places do not shift.
 */
function placed(line: string, after: readonly SavedRule[], { name, rules }: TextChain): string {
  const stop = after.find((rule) => rule.line.endsWith(' -j RETURN'))
  const at = stop ? rules.findIndex((rule) => likeness(rule.line) === likeness(stop.line)) : -1
  return at < 0 ? line : line.replace(`-A ${name} `, `-I ${name} ${at + 1} `)
}

function planTable(
  table: Table,
  wanted: readonly TextChain[],
  saved: SavedTables,
  family: Family,
  changes: Change[],
): string[] {
  const chains = wanted.filter((chain) => chain.table === table)
  const names = new Set(chains.map(({ name }) => name))
  const differing = chains
    .map((chain) => ({ ...chain, old: saved.own.get(`${table} ${chain.name}`) }))
    .filter(({ rules, old }) => !old || !sameChain(rules, old))
  const stale = [...saved.own.keys()].flatMap((key) => {
    const [owner, name = ''] = key.split(' ')
    return owner === table && !names.has(name) ? [name] : []
  })
  const moved = movedCounters(
    differing,
    stale.flatMap((name) => saved.own.get(`${table} ${name}`) ?? []),
  )
  for (const { name, rules, old } of differing) changes.push(chainChange(name, rules, old, family))
  for (const name of stale) changes.push(chainChange(name, [], saved.own.get(`${table} ${name}`), family))
  const hooks = planHooks(table, names, saved, family, changes)
  const strays = planStrays(table, stale, saved, family, changes)
  return [
    ...differing.map(({ name }) => `:${name} - [0:0]`),
    ...differing.flatMap(({ rules, old }) => counted(rules, old ?? [], moved)),
    ...hooks,
    ...strays,
    ...stale.map((name) => `-F ${name}`),
    ...stale.map((name) => `-X ${name}`),
  ]
}

type Counters = Pick<SavedRule, 'packets' | 'bytes'>

/** Counters of rules that leave their chain, by the rule without the chain: an edit of one guest moves rules of others. */
function movedCounters(
  differing: readonly { rules: readonly RuleText[]; old: readonly SavedRule[] | undefined }[],
  stale: readonly SavedRule[],
): Map<string, Counters> {
  const moved = new Map<string, Counters>()
  const add = ({ line, packets, bytes }: SavedRule): void => {
    const key = withoutChain(line)
    const before = moved.get(key) ?? { packets: 0, bytes: 0 }
    moved.set(key, { packets: before.packets + packets, bytes: before.bytes + bytes })
  }
  for (const { rules, old = [] } of differing) {
    const busy = old.filter(({ packets }) => packets > 0)
    if (busy.length === 0) continue
    const kept = new Set(rules.map(({ line }) => likeness(line)))
    busy.filter(({ line }) => !kept.has(likeness(line))).forEach(add)
  }
  stale.filter(({ packets }) => packets > 0).forEach(add)
  return moved
}

function withoutChain(line: string): string {
  return likeness(line.replace(/^-A \S+ /, ''))
}

/** A rule keeps its counters when its chain is written anew, and takes over the counters of an equal rule that left another chain. */
function counted(
  rules: readonly RuleText[],
  old: readonly SavedRule[],
  moved: Map<string, Counters>,
): string[] {
  const before = new Map(
    old.flatMap((rule) => (rule.packets > 0 ? [[likeness(rule.line), rule] as const] : [])),
  )
  return rules.map(({ line }) => {
    const own = before.size > 0 ? before.get(likeness(line)) : undefined
    const key = moved.size > 0 ? withoutChain(line) : ''
    const more = moved.get(key)
    moved.delete(key)
    const packets = (own?.packets ?? 0) + (more?.packets ?? 0)
    return packets > 0 ? `[${packets}:${(own?.bytes ?? 0) + (more?.bytes ?? 0)}] ${line}` : line
  })
}

function sameChain(rules: readonly RuleText[], old: readonly SavedRule[]): boolean {
  return rules.length === old.length && rules.every(({ hash }, i) => hash === old[i]?.hash)
}

/** Our jump must stand first (or last) in the kernel's chain, once; or not at all when its chain is not wanted. */
function planHooks(
  table: Table,
  chains: ReadonlySet<string>,
  saved: SavedTables,
  family: Family,
  changes: Change[],
): string[] {
  return HOOKS.filter((hook) => hook.table === table).flatMap(({ from, to, last }) => {
    const places = saved.hooks.get(`${table} ${from} ${to}`) ?? []
    const want = chains.has(to)
    const right = last ? (saved.lengths.get(`${table} ${from}`) ?? 0) - 1 : 0
    if (want ? places.length === 1 && places[0] === right : places.length === 0) return []
    const removed = places.map(() => `-D ${from} -j ${to}`)
    const added = want ? [last ? `-A ${from} -j ${to}` : `-I ${from} 1 -j ${to}`] : []
    changes.push({ kind: 'hook', what: `${table} ${from}`, family, removed, added })
    return [...removed, ...added]
  })
}

/** Removes jumps to our chains that are no hooks, where they stand in a kernel chain or lead to a chain that goes. */
function planStrays(
  table: Table,
  stale: readonly string[],
  saved: SavedTables,
  family: Family,
  changes: Change[],
): string[] {
  const gone = (saved.strays.get(table) ?? []).filter(
    ({ from, to }) => KERNEL_CHAINS.includes(from) || stale.includes(to),
  )
  const removed = gone.map(({ line }) => line.replace('-A', '-D'))
  if (removed.length > 0)
    changes.push({ kind: 'hook', what: `${table} ${gone[0]?.from}`, family, removed, added: [] })
  return removed
}

function chainChange(
  name: string,
  rules: readonly RuleText[],
  old: readonly SavedRule[] | undefined,
  family: Family,
): Change {
  const hashes = new Set(rules.map(({ hash }) => hash))
  const before = new Set(old?.map(({ hash }) => hash))
  return {
    kind: old ? (rules.length > 0 ? 'replace' : 'remove') : 'add',
    what: `chain ${name}`,
    family,
    removed: (old ?? [])
      .filter(({ hash }) => hash === undefined || !hashes.has(hash))
      .map(({ line }) => line),
    added: rules.filter(({ hash }) => !before.has(hash)).map(({ line }) => line),
  }
}
