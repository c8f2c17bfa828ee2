/**
 * A guest's UDP packets from a forwarded port leave as its external port: game servers and SIP register the port that they are seen at.
 * Measured: a range keeps its order only as `low + source port mod width`, so ranges are divided where the width divides the first port.
 */
import { contains, formatRange, sameRange, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import { placedForwards, type PlacedForward } from '../nat/conflicts.ts'
import { ANY } from '../nat/match.ts'
import type { Egress, Forward, Match } from '../nat/nat-rule.ts'
import { innerPorts } from '../nat/pieces.ts'
import type { PortRange } from '../ports.ts'
import { matches, packets } from './conditions.ts'
import { chainOf, type Part, type Rule, type Target } from './ruleset.ts'
import { splitByPort, type Sizes } from './split.ts'
import type { Wanted } from './wanted.ts'

/** Rules that stand before the translations that they make more precise, in the same order. */
export function externalSourcePorts(wanted: Wanted): Part {
  const { egresses, sizes } = wanted
  const byInner = new Map<bigint, { inner: Range; rules: Rule[] }>()
  const granted = grantedUdp(wanted)
  if (granted.length === 0) return { rules: [], chains: [] }
  for (const egress of egresses) {
    if (egress.exempt || egress.sport || (egress.proto ?? 'udp') !== 'udp') continue
    for (const { forward, at } of granted) {
      const { inner } = forward
      const isOut = egress.source.ranges === 'any' || egress.source.ranges.some((one) => contains(one, inner))
      if (!isOut) continue
      const own = byInner.get(inner.lo) ?? { inner, rules: [] }
      byInner.set(inner.lo, own)
      own.rules.push(...egress.out.flatMap((name) => leaving(egress, forward, at, name, wanted)))
    }
  }
  const parts = [...byInner.values()].map(({ inner, rules }) => spread(inner, rules, sizes))
  return { rules: parts.flatMap((one) => one.rules), chains: parts.flatMap((one) => one.chains) }
}

function grantedUdp({ dispatch }: Wanted): PlacedForward[] {
  return placedForwards(dispatch).filter(({ forward: { proto, ports, innerPort, single, sport } }) => {
    const isOne = ports && innerPort !== undefined && (!single || ports[0] === ports[1])
    return proto === 'udp' && isOne === true && !sport
  })
}

/** The rules for what leaves from a forward's inner ports by an interface. */
function leaving(
  egress: Egress,
  forward: Forward,
  at: readonly Range[],
  name: string,
  wanted: Wanted,
): Rule[] {
  const inside = innerPorts(forward)
  const clients = bothOf(egress.destination, forward.source)
  if (!inside || !forward.ports || !clients) return []
  const first = firstAddress(name, wanted)
  const to = egress.to
    ? at.find((one) => sameRange(one, egress.to as Range))
    : chosenOf(at, name, first, wanted)
  const shift = forward.ports[0] - inside[0]
  // Masquerading keeps a port, and what is not reached at the address of its translation is no server there.
  if (!to || (shift === 0 && sameRange(to, egress.to ?? first ?? to))) return []
  const base = {
    ...matches({ ranges: [forward.inner] }, clients),
    ...packets({ ...egress, proto: 'udp' }),
    out: name,
  }
  return (shift === 0 ? [inside] : aligned(inside)).map((sport): Rule => {
    const [lo, hi] = sport
    const target: Target =
      shift === 0
        ? { kind: 'snat', to }
        : { kind: 'snat', to, port: lo + shift, ...(lo < hi ? { shiftFrom: sport } : {}) }
    return { ...base, sport, target, serves: egress.rule.id }
  })
}

/** One of the two that is for everybody leaves it to the other. */
function bothOf(a: Match, b: Match): Match | undefined {
  if (a.ranges === 'any') return b
  return b.ranges === 'any' ? a : undefined
}

function firstAddress(name: string, { view: { network }, family }: Wanted): Range | undefined {
  const way = network.way[family]
  if (way?.dev === name) return way.ip
  return network.external.find((one) => one.name === name)?.addresses.find((one) => one.family === family)
}

/** The address of an interface as which a masqueraded guest leaves: the usual one, else the first at which the forward is reached. */
function chosenOf(
  at: readonly Range[],
  name: string,
  first: Range | undefined,
  { view }: Wanted,
): Range | undefined {
  const own = view.network.external.find((one) => one.name === name)?.addresses ?? []
  const here = at.filter((one) => own.some((address) => sameRange(address, one)))
  return here.find((one) => first && sameRange(one, first)) ?? here[0]
}

/** A range as ranges of which each is as wide as a power of two that divides its first port. */
function aligned([lo, hi]: PortRange): PortRange[] {
  const found: PortRange[] = []
  for (let first = lo; first <= hi;) {
    let width = 1
    while (first % (2 * width) === 0 && first + 2 * width - 1 <= hi) width *= 2
    found.push([first, first + width - 1])
    first += width
  }
  return found
}

/** Many rules of one guest stand in chains of their own, split by port. */
function spread(inner: Range, rules: Rule[], sizes: Sizes): Part {
  if (rules.length <= sizes.leaf) return { rules, chains: [] }
  const name = `PVENAT-UP-${shortHash(formatRange(inner))}`
  const jump: Rule = {
    ...matches({ ranges: [inner] }, ANY),
    proto: 'udp',
    target: { kind: 'jump', chain: name },
  }
  return { rules: [jump], chains: chainOf('nat', name, splitByPort('nat', name, rules, sizes, 'sport')) }
}
