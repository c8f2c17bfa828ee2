/** The chains that send packets to guests, and the jumps into them. */
import { formatIp, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import { ANY } from '../nat/match.ts'
import type { Dispatch, Forward, Match } from '../nat/model.ts'
import { innerPorts } from '../nat/pieces.ts'
import type { View } from '../nat/view.ts'
import type { PortRange } from '../ports.ts'
import { matches, packets } from './conditions.ts'
import { byPort } from './flat.ts'
import type { Chain, Rule, Target } from './model.ts'
import type { Sizes } from './tree.ts'

interface Dnat {
  chains: Chain[]
  /** Which chains a packet to an external address goes through; in this order, for claims never overlap but full=1 takes what is left. */
  jumps: Jump[]
}

export interface Jump {
  chain: string
  addresses: Range[]
  /** Only for packets that come by an external interface (hairpin=0). */
  outside: boolean
}

/** Whether what comes from inside may use a forward. */
export function isHairpin({ hairpin }: Forward, { settings }: View): boolean {
  return hairpin && settings.hairpin !== 'no'
}

export function dnatChains(dispatch: Dispatch, view: View, sizes: Sizes): Dnat {
  const result: Dnat = { chains: [], jumps: [] }
  const add = (chain: string, forwards: readonly Forward[], addresses: Range[], outside: boolean): void => {
    const own = forwards.filter((forward) => isHairpin(forward, view) !== outside)
    if (own.length === 0 || addresses.length === 0) return
    const all = own.length < sizes.plain ? own : collapse(own)
    const { rules, chains } = byPort('nat', chain, all.map(dnat), sizes)
    result.chains.push(
      { table: 'nat', name: chain, rules: [...own.flatMap(exceptions), ...rules] },
      ...chains,
    )
    result.jumps.push({ chain, addresses, outside })
  }
  const everywhere = dispatch.addresses.filter(({ common }) => common).map(({ address }) => address)
  add('PVENAT-DNAT', dispatch.common, everywhere, false)
  add('PVENAT-DNAT-X', dispatch.common, everywhere, true)
  for (const full of [false, true]) {
    for (const { address, special } of dispatch.addresses) {
      const own = special.filter((forward) => forward.full === full)
      const name = `${addressChain(address)}${full ? '-ALL' : ''}`
      add(name, own, [address], false)
      add(`${name}-X`, own, [address], true)
    }
  }
  return result
}

/**
 * Forwards of one NAT rule whose ports lie side by side outside and inside, or outside and lead to one port, are one. Never those
 * of two: each counts its own packets.
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
 * The jumps of nat PREROUTING. The external address is matched, never the interface alone: bridged packets of guests with
 * public addresses pass here, too.
 */
export function jumpRules(jumps: readonly Jump[], view: View): Rule[] {
  const interfaces = view.network.external.map(({ name }) => name)
  return jumps.flatMap(({ chain, addresses, outside }) =>
    addresses.flatMap((address): Rule[] => {
      const rule: Rule = { destination: { ranges: [address] }, target: { kind: 'jump', chain } }
      return outside ? interfaces.map((name) => ({ ...rule, in: name })) : [rule]
    }),
  )
}

/** `PVENAT-203.0.113.7`; an IPv6 address is too long for a chain's name and hashed. */
function addressChain({ family, lo }: Range): string {
  return family === 4 ? `PVENAT-${formatIp(4, lo)}` : `PVENAT-${shortHash(formatIp(6, lo))}`
}

/** What full=1 leaves to the node. These chains are a packet's last, so nothing of ours is passed over. */
function exceptions({ except, rule }: Forward): Rule[] {
  return except.map((one) => ({
    ...packets(one),
    ...matches(one.source, ANY),
    target: { kind: 'return' },
    serves: rule.id,
  }))
}

/** The same rule for the same forward: most stay from look to look, and so do chains of the very same rules. */
const ruleOf = new WeakMap<Forward, Rule>()

/** The rule of a forward. */
function dnat(forward: Forward): Rule {
  const rule = ruleOf.get(forward) ?? dnatFor(forward, forward.source)
  ruleOf.set(forward, rule)
  return rule
}

/** As `dnat`, but for these clients. */
export function dnatFor(forward: Forward, source: Match): Rule {
  const { inner, ports, innerPort, single, rule } = forward
  const isMoved = ports && innerPort !== undefined && (single || innerPort !== ports[0])
  const target: Target = isMoved ? { kind: 'dnat', to: inner, port: innerPort } : { kind: 'dnat', to: inner }
  if (isMoved && !single && ports[0] !== ports[1]) target.shiftFrom = ports
  return { target, serves: rule.id, ...packets(forward), ...matches(source, ANY) }
}
