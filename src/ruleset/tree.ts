/**
 * Many rules that ask for one number each (a port, an address), so that a packet meets a few of them only. The numbers are divided at
 * fixed places into nodes, nodes into nodes, and each is a chain: what a chain is called and which numbers lead to it never
 * depends on the rules, so a change of one rule rewrites the one chain that holds it.
 *
 *   PVENAT-DNAT:               -p tcp --dport 0:32767 -g PVENAT-DNAT-T-0-32767
 *   PVENAT-DNAT-T-0-32767:     -p tcp --dport 20480:24575 -g PVENAT-DNAT-T-20480-24575
 *   PVENAT-DNAT-T-20480-24575: -p tcp --dport 20480 -j DNAT ..., seven more and nodes
 *
 * From node to node it is a goto, so what matches nothing leaves all of them at once, and so does a RETURN.
 */
import type { Chain, Rule, Table } from './model.ts'

/** From `lo` to `hi`, both included. */
export interface Span {
  lo: bigint
  hi: bigint
}

/** A rule, and the numbers for which it has to be looked at. */
export interface Placed {
  rule: Rule
  spans: readonly Span[]
}

/** What the rules of a tree have in common. */
interface Kind {
  table: Table
  /** Numbers have so many bits. */
  bits: number
  /** The name of the chain of a node. */
  name: (node: Span) => string
  /** What is true of the packets whose number lies in a node, and of no others. */
  match: (node: Span) => Partial<Rule>
  /** No two rules match the same packet, or they do the same with it: rules for all of a node may come before the others. */
  anyOrder: boolean
  /** Divides further the rules of one single number, when there are many of them. */
  inner?: (chain: string, rules: Rule[]) => Spread
}

/** The rules of a chain, and the chains that they lead to. */
export interface Spread {
  rules: Rule[]
  chains: Chain[]
}

/** How many rules make one plain chain, and how many a leaf. */
export interface Sizes {
  plain: number
  leaf: number
}

/** Measured: below 64 rules a tree costs as much as it saves; a leaf of 8 and 8 children are the cheapest on both backends. */
export const SIZES: Sizes = { plain: 64, leaf: 8 }
const STEP = 3

/** The kernel follows 16 jumps (nft), and two trees may follow each other. */
const MAX_DEPTH = 6

/** A rule for many nodes stands in each; where that would make of the rules more than so many times as many, they stay as they are. */
const MOST_REPEATED = 4

/** Rules as they are while they are few, else those that lead into a tree. Whatever rules come behind them is passed over by what the tree takes. */
export function spread(placed: readonly Placed[], kind: Kind, sizes: Sizes): Spread {
  const plain = { rules: placed.map(({ rule }) => rule), chains: [] }
  if (placed.length < sizes.plain) return plain
  const chains: Chain[] = []
  const all = { lo: 0n, hi: (1n << BigInt(kind.bits)) - 1n, bits: kind.bits, depth: 0 }
  const rules = divide(all, placed, { kind, leaf: sizes.leaf, chains })
  const count = chains.reduce((sum, chain) => sum + chain.rules.length, rules.length)
  return count > MOST_REPEATED * placed.length ? plain : { rules, chains }
}

interface Making {
  kind: Kind
  leaf: number
  chains: Chain[]
}

interface Node extends Span {
  bits: number
  /** How many chains lead to it. */
  depth: number
}

/** The rules of the chain of a node; `placed` are those that concern it, in order. Makes the chains below it. */
function divide(node: Node, placed: readonly Placed[], making: Making): Rule[] {
  const { head, over, partial } = split(placed, node, making.kind.anyOrder)
  if (partial.length <= making.leaf || node.depth === MAX_DEPTH) {
    return [...head, ...placed.filter((one) => !head.includes(one))].map(ruleOf)
  }
  const own = new Map<bigint, Placed[]>()
  for (const one of partial) {
    for (const child of childrenOf(one, node)) {
      const list = own.get(child)
      if (list) list.push(one)
      else own.set(child, [one])
    }
  }
  const ways = [...own]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([child, some]) => {
      const wanted = new Set([...over, ...some])
      const all = over.length === 0 ? some : placed.filter((one) => wanted.has(one))
      return lead(childNode(node, child), some, all, making)
    })
  // What concerns all of the node stands in its place in each child, and here for the numbers that no child is for.
  return [...head.map(ruleOf), ...ways, ...over.map(ruleOf)]
}

/** The rule that leads to a child: its only one itself, or the way to its chain. `own`: without those for all of its parent. */
function lead(child: Node, own: readonly Placed[], all: readonly Placed[], making: Making): Rule {
  const { kind, chains, leaf } = making
  const [only] = all
  if (only && all.length === 1 && only.spans.every(({ lo, hi }) => child.lo <= lo && hi <= child.hi))
    return only.rule
  const node = { ...narrow(child, own, leaf), depth: child.depth }
  const name = kind.name(node)
  const at = chains.length
  const rules = divide(node, all, making)
  const inner = node.bits === 0 && rules.length > leaf ? kind.inner?.(name, rules) : undefined
  chains.splice(at, 0, { table: kind.table, name, rules: inner?.rules ?? rules }, ...(inner?.chains ?? []))
  return { target: { kind: 'goto', chain: name }, ...kind.match(node) }
}

/** A node that would lead to one child only is left out. */
function narrow(node: Node, own: readonly Placed[], leaf: number): Node {
  if (own.filter((one) => !covers(one, node)).length <= leaf) return node
  const spans = own.flatMap((one) => one.spans.filter(({ lo, hi }) => lo <= node.hi && node.lo <= hi))
  const first = spans.reduce((least, { lo }) => (lo < least ? lo : least), node.hi)
  const last = spans.reduce((most, { hi }) => (hi > most ? hi : most), node.lo)
  let narrowest = node
  while (narrowest.bits > 0) {
    const shift = BigInt(childBits(narrowest))
    if (first >> shift !== last >> shift) break
    narrowest = childNode(narrowest, first >> shift)
  }
  return narrowest
}

interface Parts {
  /** For all of the node, and allowed to stand before the others. */
  head: Placed[]
  /** For all of the node, and not. */
  over: Placed[]
  partial: Placed[]
}

function split(placed: readonly Placed[], node: Span, anyOrder: boolean): Parts {
  const parts: Parts = { head: [], over: [], partial: [] }
  for (const one of placed) {
    if (!covers(one, node)) parts.partial.push(one)
    else if (anyOrder || parts.partial.length === 0) parts.head.push(one)
    else parts.over.push(one)
  }
  return parts
}

function covers({ spans }: Placed, { lo, hi }: Span): boolean {
  return spans.some((span) => span.lo <= lo && hi <= span.hi)
}

/** The children of a node that a rule concerns, each as its first number without the bits that differ in it. */
function childrenOf({ spans }: Placed, node: Node): bigint[] {
  const shift = BigInt(childBits(node))
  const [first] = spans
  if (first && spans.length === 1 && first.lo === first.hi) return [first.lo >> shift]
  const children: bigint[] = []
  for (const { lo, hi } of spans) {
    if (hi < node.lo || node.hi < lo) continue
    const last = (hi < node.hi ? hi : node.hi) >> shift
    for (let child = (lo > node.lo ? lo : node.lo) >> shift; child <= last; child++)
      if (!children.includes(child)) children.push(child)
  }
  return children
}

function childNode(node: Node, child: bigint): Node {
  const bits = childBits(node)
  const lo = child << BigInt(bits)
  return { lo, hi: lo + (1n << BigInt(bits)) - 1n, bits, depth: node.depth + 1 }
}

/** Places are counted from the last bit, so that they do not depend on how many bits there are. */
function childBits({ bits }: Node): number {
  return STEP * (Math.ceil(bits / STEP) - 1)
}

function ruleOf({ rule }: Placed): Rule {
  return rule
}
