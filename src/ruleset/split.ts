/**
 * Splits long chains, for a packet meets the rules of a chain one by one. The rule: a chain with more than eight rules about parts of its
 * numbers (ports, or addresses) hands each eighth of the numbers to a chain of its own, which is split in the same way.
 *
 *   PVENAT-DNAT:               -p tcp --dport 0:32767 -g PVENAT-DNAT-T-0-32767
 *   PVENAT-DNAT-T-0-32767:     -p tcp --dport 20480:24575 -g PVENAT-DNAT-T-20480-24575
 *   PVENAT-DNAT-T-20480-24575: -p tcp --dport 20480 -j DNAT ..., seven more and chains
 *
 * Eighths lie at fixed places, so the names of chains and the numbers that lead to them do not depend on the rules, and an edit of one rule
 * rewrites one chain. The way from chain to chain is a goto: a packet that matches nothing leaves all of them at once, as by a RETURN.
 */
import { everything, formatRange, type Family, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import { append } from '../lists.ts'
import { joined, type Chain, type Part, type Rule, type Table } from './ruleset.ts'

/** Numbers of rules: a chain with fewer than `plain` is not split at all, one with at most `leaf` not further. */
export interface Sizes {
  plain: number
  leaf: number
}

/** Measured: below 64 rules a split costs as much as it saves; 8 rules and 8 chains are the cheapest on both backends. */
export const SIZES: Sizes = { plain: 64, leaf: 8 }
const EIGHTH_BITS = 3

/** The kernel follows 16 jumps (nft), and two split chains may follow each other. */
const MAX_DEPTH = 6

/** A rule about several eighths stands in each. Chains that would have more than four times the rules are not split. */
const MOST_REPEATED = 4

/** From `lo` to `hi`, both included. */
interface Span {
  lo: bigint
  hi: bigint
}

/** A rule, and the numbers of the packets that must meet it. */
interface Placed {
  rule: Rule
  spans: readonly Span[]
}

/** The numbers by which a chain is split. */
interface Numbers {
  table: Table
  bits: number
  /** The name of the chain for a part of the numbers. */
  name: (part: Span) => string
  /** The condition that a packet's number lies in a part. */
  match: (part: Span) => Partial<Rule>
  /** No two rules match the same packet, or both do the same with it: rules about all numbers may come first. */
  anyOrder: boolean
}

/** The numbers that share all but their last `bits` bits. */
interface Node extends Span {
  bits: number
  /** How many chains lead to it. */
  depth: number
}

/** One of the two addresses of a packet. */
export interface ByAddress {
  table: Table
  /** Two letters for the names of the chains. */
  tag: string
  family: Family
  side: 'source' | 'destination'
  /** As in `Numbers`. */
  anyOrder: boolean
}

const LETTERS: Readonly<Record<string, string>> = { tcp: 'T', udp: 'U', sctp: 'S' }

/** A chain's name has at most 28 characters. */
const MAX_BASE = 14

/**
 * Splits the rules of the chain `base` by port, separately for each protocol. No two rules match the same packet, except rules by source port
 * (`sport`), which keep their order.
 */
export function splitByPort(
  table: Table,
  base: string,
  rules: readonly Rule[],
  sizes: Sizes,
  side: 'ports' | 'sport' = 'ports',
): Part {
  if (rules.length < sizes.plain) return { rules: [...rules], chains: [] }
  const prefix = base.length <= MAX_BASE ? base : `PVENAT-${shortHash(base).slice(-7)}`
  const parts = Object.entries(LETTERS).map(([proto, letter]) => {
    const placed = rules.flatMap((rule): Placed[] => {
      const [lo, hi] = (rule.proto === proto && rule[side]) || []
      return lo === undefined || hi === undefined
        ? []
        : [{ rule, spans: [{ lo: BigInt(lo), hi: BigInt(hi) }] }]
    })
    const numbers: Numbers = {
      table,
      bits: 16,
      anyOrder: side === 'ports',
      name: ({ lo, hi }) => `${prefix}-${letter}-${lo}-${hi}`,
      match: ({ lo, hi }) => ({ proto, [side]: [Number(lo), Number(hi)] }),
    }
    return split(placed, numbers, { ...sizes, plain: 0 })
  })
  return joined([rules.filter((rule) => !rule[side]), ...parts])
}

/** Splits rules by an address. `where`: the addresses of the packets that must meet a rule, when its own condition does not say so. */
export function splitByAddress(
  rules: readonly Rule[],
  { table, tag, family, side, anyOrder }: ByAddress,
  sizes: Sizes,
  where: (rule: Rule) => readonly Range[] | 'any' = (rule) => rule[side]?.ranges ?? 'any',
): Part {
  const all = [everything(family)]
  const placed = rules.map((rule): Placed => {
    const ranges = where(rule)
    return { rule, spans: ranges === 'any' ? all : ranges }
  })
  const rangeOf = ({ lo, hi }: Span): Range => ({ family, lo, hi })
  const numbers: Numbers = {
    table,
    bits: family === 4 ? 32 : 128,
    anyOrder,
    name: (part) => {
      const text = formatRange(rangeOf(part))
      return `PVENAT-${tag}-${family === 4 ? text : shortHash(text)}`
    },
    match: (part) => ({ [side]: { ranges: [rangeOf(part)] } }),
  }
  return split(placed, numbers, sizes)
}

/** The same behind a jump when it was split, for a place where other rules follow: a packet that matches nothing meets them. */
export function behindJump(table: Table, name: string, { rules, chains }: Part): Part {
  if (chains.length === 0) return { rules, chains }
  return {
    rules: [{ target: { kind: 'jump', chain: name } }],
    chains: [{ table, name, rules }, ...chains],
  }
}

function split(placed: readonly Placed[], numbers: Numbers, { plain, leaf }: Sizes): Part {
  const unsplit = { rules: placed.map(({ rule }) => rule), chains: [] }
  if (placed.length < plain) return unsplit
  const { table, bits, name, match, anyOrder } = numbers

  /** The rules of a chain, and the chains below it. `all`: the rules about its numbers, in order. */
  const divide = (node: Node, all: readonly Placed[]): Part => {
    const { first, whole, partial } = sort(all, node, anyOrder)
    if (partial.length <= leaf || node.depth === MAX_DEPTH)
      return joined([rulesOf(first), rulesOf(all.filter((one) => !first.includes(one)))])
    const ways = eighthsOf(node, partial).map(([eighth, own]) => {
      const wanted = new Set([...whole, ...own])
      return lead(eighth, own, whole.length === 0 ? own : all.filter((one) => wanted.has(one)))
    })
    // A rule about all numbers stands in its place in each eighth, and here for the numbers that no chain is for.
    return joined([rulesOf(first), ...ways, rulesOf(whole)])
  }

  /** The rule that leads to an eighth: its only one, or the way to its chain. `own`: the rules about parts of its parent. */
  const lead = (eighth: Node, own: readonly Placed[], all: readonly Placed[]): Part => {
    const [only] = all
    if (only && all.length === 1 && only.spans.every(({ lo, hi }) => eighth.lo <= lo && hi <= eighth.hi))
      return { rules: [only.rule], chains: [] }
    const isLong = own.filter((one) => !covers(one, eighth)).length > leaf
    const node = isLong ? narrow(eighth, own) : eighth
    const { rules, chains } = divide(node, all)
    const chain: Chain = { table, name: name(node), rules }
    return {
      rules: [{ target: { kind: 'goto', chain: chain.name }, ...match(node) }],
      chains: [chain, ...chains],
    }
  }

  const result = divide({ lo: 0n, hi: (1n << BigInt(bits)) - 1n, bits, depth: 0 }, placed)
  const count = result.chains.reduce((sum, { rules }) => sum + rules.length, result.rules.length)
  return count > MOST_REPEATED * placed.length ? unsplit : result
}

interface Sorted {
  /** About all numbers, and allowed to stand before the others. */
  first: Placed[]
  /** About all numbers, and bound to its place. */
  whole: Placed[]
  partial: Placed[]
}

function sort(placed: readonly Placed[], node: Span, anyOrder: boolean): Sorted {
  const sorted: Sorted = { first: [], whole: [], partial: [] }
  for (const one of placed) {
    if (!covers(one, node)) sorted.partial.push(one)
    else if (anyOrder || sorted.partial.length === 0) sorted.first.push(one)
    else sorted.whole.push(one)
  }
  return sorted
}

/** The smallest node that holds all numbers of the rules in `node`: a chain with one way alone is left out. */
function narrow(node: Node, placed: readonly Placed[]): Node {
  const spans = placed.flatMap((one) => one.spans.filter(({ lo, hi }) => lo <= node.hi && node.lo <= hi))
  const first = spans.reduce((least, { lo }) => (lo < least ? lo : least), node.hi)
  const last = spans.reduce((most, { hi }) => (hi > most ? hi : most), node.lo)
  let narrowest = node
  while (narrowest.bits > 0) {
    const shift = BigInt(eighthBits(narrowest))
    if (first >> shift !== last >> shift) break
    narrowest = { ...eighthAt(narrowest, first >> shift), depth: node.depth }
  }
  return narrowest
}

/** The eighths of a node that rules are about, in order, each with its rules. */
function eighthsOf(node: Node, placed: readonly Placed[]): [Node, Placed[]][] {
  const shift = BigInt(eighthBits(node))
  const found = new Map<bigint, Placed[]>()
  for (const one of placed) {
    const places = new Set<bigint>()
    for (const { lo, hi } of one.spans) {
      const last = (hi < node.hi ? hi : node.hi) >> shift
      for (let place = (lo > node.lo ? lo : node.lo) >> shift; place <= last; place++) places.add(place)
    }
    for (const place of places) append(found, place, one)
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([place, some]) => [eighthAt(node, place), some])
}

function eighthAt(node: Node, place: bigint): Node {
  const bits = eighthBits(node)
  const lo = place << BigInt(bits)
  return { lo, hi: lo + (1n << BigInt(bits)) - 1n, bits, depth: node.depth + 1 }
}

/** Eighths are counted from the last bit, so that they lie at the same places in numbers of any length. */
function eighthBits({ bits }: Node): number {
  return EIGHTH_BITS * (Math.ceil(bits / EIGHTH_BITS) - 1)
}

function covers({ spans }: Placed, { lo, hi }: Span): boolean {
  return spans.some((span) => span.lo <= lo && hi <= span.hi)
}

function rulesOf(placed: readonly Placed[]): Rule[] {
  return placed.map(({ rule }) => rule)
}
