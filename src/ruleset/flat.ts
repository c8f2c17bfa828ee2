/** What a tree (tree.ts) may go by: the port, or one of the addresses. */
import { everything, formatRange, type Family, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { Rule, Table } from './model.ts'
import { spread, type Placed, type Sizes, type Span, type Spread } from './tree.ts'

const LETTERS: Readonly<Record<string, string>> = { tcp: 'T', udp: 'U', sctp: 'S' }

/** A chain's name has at most 28 characters. */
const MAX_BASE = 14

/** Rules of the chain `base` by destination port, each protocol by itself; none of them matches a packet that another one does. */
export function byPort(table: Table, base: string, rules: readonly Rule[], sizes: Sizes): Spread {
  if (rules.length < sizes.plain) return { rules: [...rules], chains: [] }
  const others = rules.filter(({ ports }) => !ports)
  const trees = Object.entries(LETTERS).map(([proto, letter]) => {
    const own = rules.flatMap((rule): Placed[] =>
      rule.ports && rule.proto === proto ? [{ rule, spans: [portSpan(rule.ports)] }] : [],
    )
    const prefix = base.length <= MAX_BASE ? base : `PVENAT-${shortHash(base).slice(-7)}`
    const kind = {
      table,
      bits: 16,
      anyOrder: true,
      name: ({ lo, hi }: Span) => `${prefix}-${letter}-${lo}-${hi}`,
      match: ({ lo, hi }: Span): Partial<Rule> => ({ proto, ports: [Number(lo), Number(hi)] }),
    }
    return spread(own, kind, { ...sizes, plain: 0 })
  })
  return joined([{ rules: others, chains: [] }, ...trees])
}

function portSpan([lo, hi]: readonly [number, number]): Placed['spans'][0] {
  return { lo: BigInt(lo), hi: BigInt(hi) }
}

export interface AddressTree {
  table: Table
  /** Two letters that stand for it in the names of chains. */
  tag: string
  family: Family
  /** The address that it goes by. */
  side: 'source' | 'destination'
  anyOrder: boolean
  /** Go by port where an address has many rules. */
  thenPorts?: true
}

/** Rules by one of their addresses. `where` tells for which of them a rule must be met, if it does not say so itself. */
export function byAddress(
  rules: readonly Rule[],
  { table, tag, family, side, anyOrder, thenPorts }: AddressTree,
  sizes: Sizes,
  where: (rule: Rule) => readonly Range[] | 'any' = (rule) => rule[side]?.ranges ?? 'any',
): Spread {
  const all = [everything(family)]
  const placed = rules.map((rule): Placed => {
    const ranges = where(rule)
    return { rule, spans: ranges === 'any' ? all : ranges }
  })
  const rangeOf = ({ lo, hi }: Span): Range => ({ family, lo, hi })
  const kind = {
    table,
    anyOrder,
    bits: family === 4 ? 32 : 128,
    name: (node: Span) => {
      const text = formatRange(rangeOf(node))
      return `PVENAT-${tag}-${family === 4 ? text : shortHash(text)}`
    },
    match: (node: Span): Partial<Rule> => ({ [side]: { ranges: [rangeOf(node)] } }),
  }
  const inner = (chain: string, own: Rule[]): Spread => byPort(table, chain, own, { ...sizes, plain: 0 })
  return spread(placed, thenPorts ? { ...kind, inner } : kind, sizes)
}

/** Behind a jump, for a place where other rules follow: they are met by what matches nothing in the tree. */
export function inChain(table: Table, name: string, { rules, chains }: Spread): Spread {
  if (chains.length === 0) return { rules, chains }
  return {
    rules: [{ target: { kind: 'jump', chain: name } }],
    chains: [{ table, name, rules }, ...chains],
  }
}

export function joined(spreads: readonly Spread[]): Spread {
  return {
    rules: spreads.flatMap(({ rules }) => rules),
    chains: spreads.flatMap(({ chains }) => chains),
  }
}
