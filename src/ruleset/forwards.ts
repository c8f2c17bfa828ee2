/** PVENAT-DNAT and PVENAT-ADDRESS: the chains that translate packets to guests, and the jumps to them. */
import { formatRange, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import { ANY } from '../nat/match.ts'
import type { Forward, Match } from '../nat/nat-rule.ts'
import { innerPorts, mapsNetwork } from '../nat/pieces.ts'
import type { PortRange } from '../ports.ts'
import { matches, packets } from './conditions.ts'
import { chainOf, joined, type Chain, type Part, type Rule, type Target } from './ruleset.ts'
import { behindJump, splitByAddress, splitByPort } from './split.ts'
import { isHairpin, type Wanted } from './wanted.ts'

export interface Jump {
  chain: string
  addresses: Range[]
  /** Only for packets that come by an external interface (hairpin=0). */
  outside: boolean
  /** Not for what the node itself sends: it asks for sockets of the node. */
  incoming: boolean
}

/**
 * The chains, and the jumps to them in the order that a packet takes: full=1 takes the ports that all others leave. `parties`: the guests that
 * reach themselves, and by which loop address.
 */
export function forwardChains(
  { dispatch, view, sizes }: Wanted,
  parties: readonly { forwards: readonly Forward[]; target: Range }[],
): { chains: Chain[]; jumps: Jump[] } {
  const chains: Chain[] = []
  const jumps: Jump[] = []
  const add = (
    name: string,
    forwards: readonly Forward[],
    addresses: Range[],
    make: (name: string, own: readonly Forward[], outside: boolean) => Part,
  ): void => {
    for (const outside of [false, true]) {
      const own = forwards.filter((forward) => isHairpin(forward, view) !== outside)
      if (own.length === 0 || addresses.length === 0) continue
      const chain = outside ? `${name}-X` : name
      chains.push(...chainOf('nat', chain, make(chain, own, outside)))
      jumps.push({ chain, addresses, outside, incoming: own.some(({ sockets }) => sockets) })
    }
  }
  const plain = (name: string, own: readonly Forward[]): Part =>
    splitByPort('nat', name, (own.length < sizes.plain ? own : collapse(own)).map(dnat), sizes)
  const isPlain = ({ full }: Forward): boolean => !full
  const everywhere = dispatch.addresses.filter(({ common }) => common).map(({ address }) => address)
  add('PVENAT-DNAT', dispatch.common.filter(isPlain), everywhere, plain)
  for (const { address, special } of dispatch.addresses)
    add(addressChain(address), special.filter(isPlain), [address], plain)
  for (const { address, special, common } of dispatch.addresses) {
    const here = common ? [...dispatch.common, ...special] : special
    const closed = here.filter((forward) => isPlain(forward) && !isHairpin(forward, view))
    const fulls = here.filter(({ full }) => full)
    add(`${addressChain(address)}-ALL`, fulls, [address], (name, own, outside) =>
      joined([
        // hairpin=0 closes its ports to the inside; full=1 does not open them.
        outside ? [] : closed.map(left),
        ...own.map((full) => {
          const self = parties.find(({ forwards: [only] }) => only === full)
          return fullRules(name, full, outside ? undefined : self?.target)
        }),
      ]),
    )
  }
  return { chains, jumps }
}

/** full=1: exceptions return before the rest is translated. A guest that calls itself goes by the loop (self-hairpin.ts). */
function fullRules(name: string, full: Forward, self: Range | undefined): Part {
  const { source, inner, rule, except, sockets } = full
  const rules: Rule[] = [
    ...(sockets ? [{ socket: true, target: { kind: 'return' }, serves: rule.id } as const] : []),
    ...except.map((one) => left({ ...one, rule })),
    ...(self ? [{ ...matches({ ranges: [inner] }, ANY), target: { kind: 'dnat', to: self } } as const] : []),
    dnat(full),
  ]
  if (source.ranges === 'any' || except.length === 0) return { rules, chains: [] }
  // Its exceptions do not hold for other clients' full=1.
  const chain = `PVENAT-${shortHash(`${name} ${rule.id}`)}`
  return {
    rules: [{ ...matches(source, ANY), target: { kind: 'goto', chain } }],
    chains: chainOf('nat', chain, rules),
  }
}

/** Packets that full=1 leaves alone. Its chains are the last of a packet, so no forward is passed over. */
function left(one: Forward['except'][number] & Pick<Forward, 'rule'>): Rule {
  return {
    ...packets(one),
    ...matches(one.source, one.at ? { ranges: [one.at] } : ANY),
    target: { kind: 'return' },
    serves: one.rule.id,
  }
}

/**
 * Joins forwards of one NAT rule whose ports lie side by side outside and inside, or side by side outside and lead to one port. Forwards of
 * two NAT rules stay apart: each rule counts its own packets.
 */
function collapse(forwards: readonly Forward[]): Forward[] {
  const joined: Forward[] = []
  const last = new Map<string, number>()
  const pieces = new Map<string, number>()
  for (const { rule } of forwards) pieces.set(rule.id, (pieces.get(rule.id) ?? 0) + 1)
  for (const forward of forwards) {
    if (pieces.get(forward.rule.id) === 1) {
      joined.push(forward)
      continue
    }
    const key = `${forward.rule.id} ${forward.proto} ${forward.inner.lo}`
    const at = last.get(key)
    const one = at === undefined ? undefined : join(joined[at], forward)
    if (at !== undefined && one) joined[at] = one
    else last.set(key, joined.push(forward) - 1)
  }
  return joined
}

function join(a: Forward | undefined, b: Forward): Forward | undefined {
  if (!a?.ports || !b.ports || a.ports[1] + 1 !== b.ports[0] || a.source !== b.source) return undefined
  if (a.sport?.join() !== b.sport?.join()) return undefined
  const both: Forward = { ...a, ports: [a.ports[0], b.ports[1]] }
  if (leadsToOne(a) && leadsToOne(b) && a.innerPort === b.innerPort) return { ...both, single: true }
  const isShifted = isOnePort(a.ports) || !a.single
  const next = (innerPorts(a)?.[1] ?? 0) + 1
  return isShifted && !b.single && b.innerPort === next ? { ...both, single: false } : undefined
}

function leadsToOne({ single, ports }: Forward): boolean {
  return single || (ports !== undefined && isOnePort(ports))
}

function isOnePort([lo, hi]: PortRange): boolean {
  return lo === hi
}

/**
 * The jumps of nat PREROUTING and OUTPUT. The external address is matched, never the interface alone: bridged packets of guests with public
 * addresses pass PREROUTING, too.
 */
export function jumpsToForwards(
  jumps: readonly Jump[],
  { view, family, sizes }: Wanted,
): { incoming: Part; fromNode: Rule[] } {
  const interfaces = view.network.external.map(({ name }) => name)
  const rulesOf = (some: readonly Jump[]): Rule[] =>
    some.flatMap(({ chain, addresses, outside }) =>
      addresses.flatMap((address): Rule[] => {
        const rule: Rule = { destination: { ranges: [address] }, target: { kind: 'jump', chain } }
        return outside ? interfaces.map((name) => ({ ...rule, in: name })) : [rule]
      }),
    )
  const by = { table: 'nat', tag: 'EX', family, side: 'destination', anyOrder: false } as const
  const both = splitByAddress(rulesOf(jumps.filter(({ incoming }) => !incoming)), by, sizes)
  const apart = rulesOf(jumps.filter(({ incoming }) => incoming))
  return {
    incoming: apart.length === 0 ? both : joined([behindJump('nat', 'PVENAT-EXTERNAL', both), apart]),
    fromNode: both.rules.filter((rule) => rule.in === undefined),
  }
}

/** `PVENAT-203.0.113.7`; an IPv6 address and a network are too long for a chain's name and hashed. */
function addressChain(address: Range): string {
  const text = formatRange(address)
  return /^[\d.]+$/.test(text) ? `PVENAT-${text}` : `PVENAT-${shortHash(text)}`
}

function dnat(forward: Forward): Rule {
  return dnatFor(forward, forward.source)
}

/** The rule of a forward, for these clients. */
export function dnatFor(forward: Forward, source: Match): Rule {
  const { inner, ports, innerPort, single, rule } = forward
  if (mapsNetwork(forward))
    return { target: { kind: 'netmap', to: inner }, serves: rule.id, ...matches(source, ANY) }
  const isMoved = ports && innerPort !== undefined && (single || innerPort !== ports[0])
  const target: Target = isMoved ? { kind: 'dnat', to: inner, port: innerPort } : { kind: 'dnat', to: inner }
  if (isMoved && !single && ports[0] !== ports[1]) target.shiftFrom = ports
  return { target, serves: rule.id, ...packets(forward), ...matches(source, ANY) }
}
