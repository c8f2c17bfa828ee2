/** The installed ruleset: the output of iptables-save and ipset save, as far as it concerns pvenat. */
import { FAMILIES, formatRange, parseCidr, type Family } from '../address.ts'
import { append } from '../lists.ts'
import type { KernelSet } from '../nat/nat-rule.ts'
import type { KernelFacts } from '../nat/view.ts'
import { HOOKS, NO_ROUTING, OWN_CHAIN, OWN_SET, TABLES, type Routing, type Table } from './ruleset.ts'
import { shortHash } from '../hash.ts'
import { BARE, MARK, nextHash } from './restore-text.ts'

export interface Installed {
  chains: Record<Family, SavedTables>
  /** Own sets by name. */
  sets: Map<string, SavedSet>
  routing: Record<Family, Routing>
}

export interface SavedTables {
  /** Own chains, by `TABLE NAME`. */
  own: Map<string, SavedRule[]>
  /** For each hook (`TABLE FROM TO`): at which places of the kernel chain our jump stands (0 = first). */
  hooks: Map<string, number[]>
  /** How many rules each kernel chain has (`TABLE FROM`). */
  lengths: Map<string, number>
  /** By table: jumps to own chains that are no hooks, as another version or somebody else put them. */
  strays: Map<string, Stray[]>
  /** Whether the policy of FORWARD is DROP. */
  drops: boolean
}

interface Stray {
  from: string
  to: string
  /** As iptables-save has it: to be deleted by value. */
  line: string
}

export interface SavedRule {
  /** Undefined for a rule that is not ours. */
  readonly hash: string | undefined
  readonly packets: number
  readonly bytes: number
  readonly line: string
}

export interface SavedSet {
  type: string
  family: Family
  maxelem: number
  /** As `KernelSet` has them, sorted. */
  entries: string[]
}

/** Whether the kernel holds a set with these members. */
export function isLoaded({ name, entries }: KernelSet, { sets }: Installed): boolean {
  const members = sets.get(name)?.entries
  return members?.length === entries.length && members.every((entry, i) => entry === entries[i])
}

/** Of a kernel that holds nothing of ours. */
export const NOTHING_INSTALLED: Installed = {
  chains: { 4: parseSave(''), 6: parseSave('') },
  sets: new Map(),
  routing: { 4: NO_ROUTING, 6: NO_ROUTING },
}

/** The facts that the compiler has to know of an installed ruleset. */
export function kernelFacts({ chains }: Installed): KernelFacts {
  return {
    ownChains: FAMILIES.filter((family) => chains[family].own.size > 0),
    forwardDrops: FAMILIES.filter((family) => chains[family].drops),
  }
}

/**
 * Reads the output of `iptables-save`, all tables, with or without `-c`. Foreign chains are not looked into. Rules that stand as they did
 * `before` need not be understood again.
 */
export function parseSave(text: string, before?: SavedTables): SavedTables {
  const saved: SavedTables = {
    own: new Map(),
    hooks: new Map(),
    lengths: new Map(),
    strays: new Map(),
    drops: false,
  }
  let table: Table | undefined
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = TABLES.find((name) => line === `*${name}`)
    else if (table && line.startsWith(':')) declareChain(saved, table, line)
    else if (table) addRule(saved, table, line, before)
  }
  return saved
}

function declareChain(saved: SavedTables, table: Table, line: string): void {
  if (table === 'filter' && line.startsWith(':FORWARD DROP')) saved.drops = true
  const name = line.slice(1).split(' ')[0] ?? ''
  if (OWN_CHAIN.test(name)) saved.own.set(`${table} ${name}`, [])
}

/** There may be tens of thousands of lines, and they are read often. */
function addRule(saved: SavedTables, table: Table, line: string, before?: SavedTables): void {
  const start = line.startsWith('-A ') ? 0 : line.indexOf('] -A ') + 2
  if (start === 1) return
  const end = line.indexOf(' ', start + 3)
  const chain = line.slice(start + 3, end < 0 ? line.length : end)
  const text = line.slice(start)
  const key = `${table} ${chain}`
  const own = saved.own.get(key)
  if (own) {
    const colon = line.indexOf(':')
    const [packets, bytes] =
      start === 0 ? [0, 0] : [Number(line.slice(1, colon)), Number(line.slice(colon + 1, start - 2))]
    const rule = known(own, before?.own.get(key), text)
    if (rule?.packets === packets && rule.bytes === bytes) own.push(rule)
    else if (rule) own.push({ ...rule, packets, bytes })
    else own.push({ hash: hashOf(text, chain, own), packets, bytes, line: text })
    return
  }
  const at = saved.lengths.get(key) ?? 0
  saved.lengths.set(key, at + 1)
  const hook = HOOKS.find(
    (one) => one.table === table && one.from === chain && text === `-A ${chain} -j ${one.to}`,
  )
  if (!hook) return addStray(saved, table, chain, text)
  append(saved.hooks, `${key} ${hook.to}`, at)
}

/** The next rule of a chain, if it stood there before behind the same rules. */
function known(
  own: readonly SavedRule[],
  before: readonly SavedRule[] | undefined,
  line: string,
): SavedRule | undefined {
  const at = own.length
  const rule = before?.[at]
  return rule?.line === line && own[at - 1]?.hash === before?.[at - 1]?.hash ? rule : undefined
}

/** Of a rule of ours: as its comment says, or of its text and the rules before it when it has none. */
function hashOf(line: string, chain: string, own: readonly SavedRule[]): string | undefined {
  const told = hashIn(line)
  if (told !== undefined) return told
  const before = own.length === 0 ? shortHash(chain) : own.at(-1)?.hash
  const text = line.slice(`-A ${chain} `.length)
  return before !== undefined && BARE.test(text) ? nextHash(before, text) : undefined
}

function addStray(saved: SavedTables, table: Table, from: string, line: string): void {
  const to = / -[jg] (\S+)$/.exec(line)?.[1]
  if (to !== undefined && OWN_CHAIN.test(to)) append(saved.strays, table, { from, to, line })
}

function hashIn(text: string): string | undefined {
  const at = text.indexOf(MARK)
  if (at < 0) return undefined
  let end = at + MARK.length
  while (/[0-9a-z]/.test(text.charAt(end))) end++
  return text.slice(at + MARK.length, end)
}

/** Reads the output of `ipset save`; foreign sets are left out. */
export function parseSets(text: string): Map<string, SavedSet> {
  const sets = new Map<string, SavedSet>()
  for (const line of text.split('\n')) {
    const start = line.indexOf(' ') + 1
    const end = line.indexOf(' ', start)
    const [verb, name, entry] = [line.slice(0, start - 1), line.slice(start, end), line.slice(end + 1)]
    if (!OWN_SET.test(name)) continue
    if (verb === 'create') {
      const rest = entry.split(' ')
      const after = (word: string): string | undefined => rest[rest.indexOf(word) + 1]
      sets.set(name, {
        type: rest[0] ?? '',
        family: after('family') === 'inet6' ? 6 : 4,
        maxelem: Number(after('maxelem')),
        entries: [],
      })
    } else if (verb === 'add') {
      sets.get(name)?.entries.push(NORMAL.test(entry) ? entry : normalEntry(entry.split(' ')))
    }
  }
  for (const set of sets.values()) set.entries.sort()
  return sets
}

/** As most are that there are many of. */
const NORMAL = /^\d+\.\d+\.\d+\.\d+(,\w+:\d+)?$/

function normalEntry([address = '', ...flags]: string[]): string {
  const [ip = '', ...port] = address.split(',')
  const range = parseCidr(ip)
  return [[range ? formatRange(range) : ip, ...port].join(','), ...flags].join(' ')
}
