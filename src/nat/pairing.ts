/** Which external port leads to which inner port. */
import { FAMILIES } from '../address.ts'
import type { FwRule } from '../fw/fw-file.ts'
import type { Network } from '../network.ts'
import { formatPorts, type PortRange } from '../ports.ts'
import type { Around } from './comment.ts'
import { templates, type Template } from './template.ts'

export interface PortPair {
  proto: string
  external: PortRange
  /** First inner port. */
  inner: number
  /** All external ports lead to the one inner port; else they are shifted 1:1. */
  single: boolean
  /** The client's source port that the macro demands. */
  sport?: PortRange
}

/** One range of inner ports and the protocols that it is for: `DNS` has port 53 for udp and tcp. */
interface Item {
  range: PortRange
  uses: { proto: string; sport?: PortRange }[]
}

/**
 * Pairs the ports of the templates (all of protocols with ports) with the external ones. Without external ports they are the
 * same as inside; without inner ports these are the same as outside, tcp and udp if no protocol is named.
 * Undefined when they do not pair; the texts of both sides are then in `describe`.
 */
export function pairPorts(
  templates: readonly Template[],
  external: readonly PortRange[],
): PortPair[] | undefined {
  const items = innerItems(templates)
  if (items.length === 0) {
    const protos = templates.flatMap(({ proto }) => (proto === '' ? ['tcp', 'udp'] : [proto]))
    return external.flatMap((range) =>
      protos.map((proto) => ({ proto, external: range, inner: range[0], single: false })),
    )
  }
  const pairs = pairRanges(items, external.length === 0 ? items.map(({ range }) => range) : external)
  return pairs?.flatMap(([{ range, uses }, outer]) =>
    uses.map((use) => ({ ...use, external: outer, inner: range[0], single: width(outer) !== width(range) })),
  )
}

/** The inner ports, in their order. */
export function innerRanges(all: readonly Template[]): PortRange[] {
  return innerItems(all).map(({ range }) => range)
}

/** The inner ports as a person would write them. */
export function describeInner(all: readonly Template[]): string {
  return formatPorts(innerRanges(all))
}

/** The rule around a comment, on a node with these networks. */
export function aroundOf(
  rule: FwRule,
  { external, internal, links }: Pick<Network, 'external' | 'internal' | 'links'>,
  services: ReadonlyMap<string, number>,
): Around {
  return {
    direction: rule.type === 'out' ? 'out' : 'in',
    inner: () => describeInner(FAMILIES.flatMap((family) => templates(rule, family, services))),
    isInterface: (name) =>
      name !== 'lo' &&
      (links.has(name) ||
        external.some((one) => one.name === name) ||
        internal.some(({ bridge }) => bridge === name)),
  }
}

function innerItems(templates: readonly Template[]): Item[] {
  const items = new Map<string, Item>()
  for (const { proto, dports, sports } of templates) {
    for (const range of dports) {
      const item = items.get(range.join()) ?? { range, uses: [] }
      item.uses.push(sports[0] ? { proto, sport: sports[0] } : { proto })
      items.set(range.join(), item)
    }
  }
  return [...items.values()]
}

function pairRanges(items: readonly Item[], external: readonly PortRange[]): [Item, PortRange][] | undefined {
  const only = items.length === 1 ? items[0] : undefined
  if (!only && items.length !== external.length) return undefined
  const pairs = external.map((outer, i): [Item, PortRange] => [only ?? (items[i] as Item), outer])
  const fit = pairs.every(([{ range }, outer]) => width(range) === 1 || width(range) === width(outer))
  return fit ? pairs : undefined
}

function width([lo, hi]: PortRange): number {
  return hi - lo + 1
}
