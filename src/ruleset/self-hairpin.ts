/**
 * A guest that calls itself by its external address. The frame would have to leave by the bridge port that it came in by, which
 * no bridge does; so such packets are led out of the bridge through a pair of interfaces and come back as routed ones:
 *
 *   guest → external address ─DNAT▶ loop address ─(pvenat0 → pvenat1)▶ DNAT like any other → guest
 *
 * with the node's inner address as the source. On the way back everything is undone in the opposite order. The connection passes
 * conntrack twice, so its second pass begins in a zone of its own; the answer comes in zone 0, hence "orig" only.
 */
import { intersects, parseIp, type Family, type Range } from '../address.ts'
import { ANY } from '../nat/match.ts'
import type { Forward, KernelSet } from '../nat/nat-rule.ts'
import { isWide, matches, pairs, pairSet } from './conditions.ts'
import { dnatFor, type Jump } from './forwards.ts'
import { chainOf, joined, type Part, type Rule } from './ruleset.ts'
import { behindJump, splitByAddress } from './split.ts'
import { forwardsByAddress, isHairpin, type Wanted } from './wanted.ts'

/** Stands among the refused rules when the kernel takes no sets of pairs. */
export const SELF_HAIRPIN = 'self-hairpin'

export const LOOP_OUT = 'pvenat0'
export const LOOP_IN = 'pvenat1'
const LOOP_ZONE = 2

/** The network that is routed into the loop, and the source address of packets on the way through. */
export const LOOP_NETWORKS: Readonly<Record<Family, { targets: string; source: string }>> = {
  4: { targets: '169.254.77.128/25', source: '169.254.77.2' },
  6: { targets: 'fd77:0:0:1::/64', source: 'fd77::2' },
}
const FIRST_TARGET: Readonly<Record<Family, bigint>> = {
  4: ip('169.254.77.128').lo,
  6: ip('fd77:0:0:1::').lo,
}
/** Parties beyond this number have no loop. */
const MAX_TARGETS = 128

export interface Loop {
  zone: Rule[]
  prerouting: Part
  postrouting: Rule[]
  forward: Rule[]
}

export const NO_LOOP: Loop = { zone: [], prerouting: joined([]), postrouting: [], forward: [] }

/** The rules of the loop for one family; none when no guest can want it. */
export function loopRules(parties: readonly Party[], jumps: readonly Jump[], wanted: Wanted): Loop {
  const { family } = wanted
  const passes = parties.map((party, i): Passes => {
    const { forwards, addresses, kind, target } = party
    const set = selfSet(forwards, i, family)
    const back =
      kind === 'shared' ? jumpsAt(jumps, addresses) : forwards.map((forward) => dnatFor(forward, ANY))
    return {
      party,
      second: back.map((rule) => secondPass(rule, target)),
      // full=1 leads into the loop at its end of the chains (forwards.ts): other forwards come first.
      first: kind === 'full' ? [] : addresses.flatMap((address) => firstPass(forwards, address, target, set)),
    }
  })
  if (passes.length === 0) return NO_LOOP
  const source = ip(LOOP_NETWORKS[family].source)
  return {
    zone: [{ in: LOOP_IN, target: { kind: 'zone', zone: LOOP_ZONE, direction: 'orig' } }],
    prerouting: arranged(passes, wanted),
    postrouting: [
      { out: LOOP_OUT, target: { kind: 'snat', to: source } },
      { source: { ranges: [source] }, target: { kind: 'masquerade' } },
    ],
    // Nothing may go round twice.
    forward: [{ in: LOOP_IN, out: LOOP_OUT, target: { kind: 'drop' } }],
  }
}

interface Passes {
  party: Party
  first: Rule[]
  second: Rule[]
}

/** Many rules are met only by packets of guests that may call themselves, and by packets on their second pass. */
function arranged(passes: readonly Passes[], { family, sizes }: Wanted): Part {
  const all = passes.flatMap(({ first, second }) => [...second, ...first])
  if (all.length < sizes.plain) return joined([all])
  const callers = new Map(
    passes.flatMap(({ first, party: { forwards } }) => {
      const inner = [...new Map(forwards.map((forward) => [forward.inner.lo, forward.inner])).values()]
      return first.map((rule) => [rule, inner])
    }),
  )
  const by = { table: 'nat', tag: 'SF', family, side: 'source', anyOrder: true } as const
  const self = splitByAddress([...callers.keys()], by, sizes, (rule) => callers.get(rule) ?? 'any')
  const back = chainOf(
    'nat',
    'PVENAT-LOOP',
    passes.flatMap(({ second }) => second),
  )
  const toBack: Rule = { in: LOOP_IN, target: { kind: 'jump', chain: 'PVENAT-LOOP' } }
  return joined([{ rules: [toBack], chains: back }, behindJump('nat', 'PVENAT-SELF', self)])
}

/** Guests that share one loop address. */
interface Party {
  addresses: Range[]
  forwards: Forward[]
  /** `shared`: the second pass goes through the chains of all forwards; `single`: only through rules of this guest; `full`: of one full=1. */
  kind: 'shared' | 'single' | 'full'
  /** The loop address. */
  target: Range
}

/**
 * External addresses with equal forwards are one party. The second pass does not know the client, so a guest with forwards for some clients
 * only is a party by itself: no call of another guest may end at it.
 */
export function loopParties({ dispatch, family, view }: Wanted): Party[] {
  const { common } = dispatch
  // A guest whose address stands in a network that is mapped as a whole does not reach itself by it.
  const addresses = dispatch.addresses.filter(({ address }) => address.lo === address.hi)
  if (view.settings.hairpin !== 'yes' || view.quarantined.has(SELF_HAIRPIN)) return []
  const plain = addresses.filter(({ special }) => special.length === 0).map(({ address }) => address)
  const groups = [
    { addresses: plain, forwards: common },
    ...forwardsByAddress({ common, addresses: addresses.filter(({ special }) => special.length > 0) }).map(
      ({ address, forwards }) => ({ addresses: [address], forwards }),
    ),
  ]
  const split = groups.flatMap(({ addresses: at, forwards }): Omit<Party, 'target'>[] => {
    const all = forwards.filter((forward) => isHairpin(forward, view) && reachesItself(forward))
    const own = all.filter(({ full }) => !full)
    const restricted = own.filter(({ source }) => source.ranges !== 'any')
    const guests = new Map(
      restricted.map(({ inner }) => [inner.lo, restricted.filter((one) => one.inner.lo === inner.lo)]),
    )
    const open = own.filter(({ source }) => source.ranges === 'any')
    const fulls = all.filter(({ full }) => full)
    return [
      { addresses: at, forwards: open, kind: 'shared' },
      ...[...guests.values()].map((list) => ({ addresses: at, forwards: list, kind: 'single' as const })),
      ...fulls.map((full) => ({ addresses: at, forwards: [full], kind: 'full' as const })),
    ]
  })
  const wanted = split.filter((party) => party.addresses.length > 0 && party.forwards.length > 0)
  return (['shared', 'full', 'single'] as const)
    .flatMap((kind) => wanted.filter((party) => party.kind === kind))
    .slice(0, MAX_TARGETS)
    .map((party, i) => ({ ...party, target: host(family, FIRST_TARGET[family] + BigInt(i)) }))
}

function host(family: Family, lo: bigint): Range {
  return { family, lo, hi: lo }
}

function jumpsAt(jumps: readonly Jump[], [address]: readonly Range[]): Rule[] {
  const own = jumps.filter((jump) => !jump.outside && address && jump.addresses.includes(address))
  return own.map(({ chain }) => ({ target: { kind: 'jump', chain } }))
}

/** A forward with a restricted source that leaves its own guest out is none for that guest. */
function reachesItself({ source, inner }: Forward): boolean {
  return source.ranges === 'any' || intersects(source.ranges, [inner])
}

function firstPass(forwards: readonly Forward[], address: Range, target: Range, set: KernelSet): Rule[] {
  const destination = { ranges: [address] }
  const rules = forwards
    .filter(({ ports }) => isWide(ports))
    .map((forward): Rule => {
      const { inner, proto, ports } = forward
      return {
        ...matches({ ranges: [inner] }, destination),
        ...(proto === 'all' ? {} : { proto }),
        ...(ports ? { ports } : {}),
        target: { kind: 'dnat', to: target },
      }
    })
  const members: Rule = { destination, pair: set, target: { kind: 'dnat', to: target } }
  return set.entries.length > 0 ? [members, ...rules] : rules
}

function secondPass(rule: Rule, target: Range): Rule {
  return { ...rule, in: LOOP_IN, destination: { ranges: [target] } }
}

/** Pairs of a guest's address and an external port of its own. */
function selfSet(forwards: readonly Forward[], index: number, family: Family): KernelSet {
  const entries = forwards.flatMap(({ ports, proto, inner }) =>
    ports && !isWide(ports) ? pairs(inner, proto, ports) : [],
  )
  return pairSet(`self-${index}`, family, entries)
}

function ip(text: string): Range {
  return parseIp(text) as Range
}
