/** NAT rules → ruleset: one function for each thing that a chain is for. */
import { FAMILIES, formatIp, type Family, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { Dispatch } from '../nat/claims.ts'
import { ANY } from '../nat/match.ts'
import type { Egress, Forward, KernelSet, Match, NatRule } from '../nat/model.ts'
import type { Translation } from '../nat/translate.ts'
import type { InternalNetwork, View } from '../nat/view.ts'
import type { Chain, Rule, Ruleset, Target } from './model.ts'

/** A bridge between tap and bridge exists for NICs with firewall=1 only (pve-common Network.pm). */
const FIREWALL_BRIDGES = 'fwbr+'

/**
 * The whole ruleset that a translation asks for. `keep` names families whose skeleton (hooks, zone, one conntrack rule) is in force
 * and stays although nothing is wanted of them: removing it would stall live connections.
 */
export function buildRuleset({ rules, dispatch }: Translation, view: View, keep: readonly Family[]): Ruleset {
  const active = rules.filter(({ state }) => state === 'active')
  const chains = { 4: [] as Chain[], 6: [] as Chain[] }
  for (const family of FAMILIES) {
    if (wants(active, family) || keep.includes(family))
      chains[family] = familyChains(active, dispatch[family], family, view)
  }
  return { chains, sets: usedSets([...chains[4], ...chains[6]]) }
}

function wants(rules: readonly NatRule[], family: Family): boolean {
  return rules.some(({ forwards, egresses, blocks }) =>
    [...forwards, ...egresses, ...blocks].some((one) => one.family === family),
  )
}

function familyChains(rules: readonly NatRule[], dispatch: Dispatch, family: Family, view: View): Chain[] {
  const internal = view.network.internal.filter(({ network }) => network.family === family)
  const egresses = rules.flatMap((rule) => rule.egresses).filter((egress) => egress.family === family)
  const dnat = dnatChains(dispatch, view)
  return [
    {
      table: 'raw',
      name: 'PVENAT-ZONE',
      rules: [{ in: FIREWALL_BRIDGES, target: { kind: 'zone', zone: 1 } }],
    },
    { table: 'filter', name: 'PVENAT-FORWARD', rules: filterRules(rules, dispatch, family, internal) },
    ...dnat.chains,
    {
      table: 'nat',
      name: 'PVENAT-PREROUTING',
      rules: [passFirewallBridges(), ...dnat.everywhere, ...dnat.outside],
    },
    { table: 'nat', name: 'PVENAT-OUTPUT', rules: dnat.everywhere },
    {
      table: 'nat',
      name: 'PVENAT-POSTROUTING',
      rules: [...hairpin(internal, view), ...innerSource(dispatch), ...sourceTranslation(egresses)],
    },
  ]
}

/** With bridge-nf-call-iptables=1 a packet meets the nat table once more on the firewall bridge; there it must stay as it is. */
function passFirewallBridges(): Rule {
  return { in: FIREWALL_BRIDGES, target: { kind: 'return' } }
}

interface DnatChains {
  chains: Chain[]
  /** Jumps for packets from anywhere: outside, inside, the node. */
  everywhere: Rule[]
  /** Jumps for packets that come by an external interface (hairpin=0). */
  outside: Rule[]
}

/**
 * The external address is matched, never the interface alone: bridged packets of guests with public addresses pass here, too.
 */
function dnatChains(dispatch: Dispatch, view: View): DnatChains {
  const result: DnatChains = { chains: [], everywhere: [], outside: [] }
  const allHairpin = view.settings.hairpin !== 'no'
  const add = (name: string, forwards: readonly Forward[], addresses: readonly Range[]): void => {
    const inside = forwards.filter(({ hairpin }) => hairpin && allHairpin)
    const outside = forwards.filter(({ hairpin }) => !hairpin || !allHairpin)
    if (inside.length > 0) {
      result.chains.push({ table: 'nat', name, rules: inside.map(dnat) })
      result.everywhere.push(...addresses.map((address) => jumpTo(name, address)))
    }
    if (outside.length > 0) {
      result.chains.push({ table: 'nat', name: `${name}-EXT`, rules: outside.map(dnat) })
      const interfaces = view.network.external.map((one) => one.name)
      result.outside.push(
        ...addresses.flatMap((address) =>
          interfaces.map((name_) => ({ ...jumpTo(`${name}-EXT`, address), in: name_ })),
        ),
      )
    }
  }
  for (const { address, special } of dispatch.addresses) add(addressChain(address), special, [address])
  add(
    'PVENAT-DNAT',
    dispatch.common,
    dispatch.addresses.filter(({ common }) => common).map(({ address }) => address),
  )
  return result
}

/** `PVENAT-203.0.113.7`; an IPv6 address is too long for a chain's name and hashed. */
function addressChain({ family, lo }: Range): string {
  return family === 4 ? `PVENAT-${formatIp(4, lo)}` : `PVENAT-V6-${shortHash(formatIp(6, lo))}`
}

function jumpTo(chain: string, address: Range): Rule {
  return { destination: { ranges: [address] }, target: { kind: 'jump', chain } }
}

function dnat(forward: Forward): Rule {
  const { inner, ports, innerPort, single, source, rule } = forward
  const target: Target = { kind: 'dnat', to: inner }
  if (ports && innerPort !== undefined && (single || innerPort !== ports[0])) {
    target.port = innerPort
    if (!single && ports[0] !== ports[1]) target.shiftFrom = ports
  }
  return { ...packets(forward), ...matches(source, ANY), target, serves: rule.id }
}

/** Guests of one network that call each other by the external address: the answer must come back through this node. */
function hairpin(internal: readonly InternalNetwork[], view: View): Rule[] {
  if (view.settings.hairpin === 'no') return []
  return internal.map(({ network }) => ({
    ...{ source: { ranges: [network] }, destination: { ranges: [network] } },
    ...{ state: 'DNAT', target: { kind: 'masquerade' } },
  }))
}

/** snat=1: the guest sees the node's inner address. */
function innerSource({ common, addresses }: Dispatch): Rule[] {
  const all = [...common, ...addresses.flatMap(({ special }) => special)]
  return all
    .filter(({ snat }) => snat)
    .flatMap(({ external, inner, proto, ports, rule }) =>
      external.map((address) => ({
        ...(proto === 'all' ? {} : { proto }),
        ...{ destination: { ranges: [inner] }, state: 'DNAT' as const, originalDestination: address },
        ...(ports ? { originalPorts: ports } : {}),
        ...{ target: { kind: 'masquerade' as const }, serves: rule.id },
      })),
    )
}

/** Exemptions come before translations, whatever the order of the files. Every rule has a source and an interface. */
function sourceTranslation(egresses: readonly Egress[]): Rule[] {
  const ordered = [...egresses.filter(({ exempt }) => exempt), ...egresses.filter(({ exempt }) => !exempt)]
  return ordered.flatMap((egress) => {
    const { source, destination, out, to, exempt, rule } = egress
    const target: Target = exempt ? { kind: 'return' } : to ? { kind: 'snat', to } : { kind: 'masquerade' }
    return out.map((name) => ({
      ...packets(egress),
      ...matches(source, destination),
      out: name,
      target,
      serves: rule.id,
    }))
  })
}

/**
 * The first rule costs an established connection one look; it also stays when nothing else does, because the kernel
 * cuts live connections when the last rule that needs conntrack goes.
 */
function filterRules(
  rules: readonly NatRule[],
  dispatch: Dispatch,
  family: Family,
  internal: readonly InternalNetwork[],
): Rule[] {
  const granted = [...dispatch.common, ...dispatch.addresses.flatMap(({ special }) => special)]
  const blocks = rules.flatMap((rule) => rule.blocks).filter((block) => block.family === family)
  return [
    { state: '!NEW', target: { kind: 'return' } },
    ...unique(granted.filter(({ accept }) => accept).flatMap((forward) => acceptInner(forward, internal))),
    ...blocks.map((block): Rule => {
      const kind = block.action === 'REJECT' ? 'reject' : 'drop'
      return {
        ...{ ...packets(block), ...matches(block.source, block.destination) },
        ...{ state: '!DNAT', routed: true, target: { kind }, serves: block.rule.id },
      }
    }),
  ]
}

/**
 * pve-firewall compiles `-sport 822` to a condition that no client fulfils and drops what is forwarded, on the
 * firewall bridge, where the packet has its inner address and the client's source (the node's inner address after a hairpin).
 */
function acceptInner(
  { inner, innerPort, ports, single, proto, source, rule }: Forward,
  internal: readonly InternalNetwork[],
): Rule[] {
  const width = ports && !single ? ports[1] - ports[0] : 0
  const base: Rule = { proto, target: { kind: 'accept' }, serves: rule.id }
  if (innerPort !== undefined) base.ports = [innerPort, innerPort + width]
  const destination = { ranges: [inner] }
  const node =
    source.ranges === 'any'
      ? []
      : internal.filter(({ network }) => covers(network, inner)).map(({ address }) => address)
  return [
    { ...base, ...matches(source, destination) },
    ...node.map((address) => ({ ...base, ...matches({ ranges: [address] }, destination) })),
  ]
}

function covers(network: Range, { lo }: Range): boolean {
  return network.lo <= lo && lo <= network.hi
}

function packets({
  proto,
  ports,
  sport,
  icmpType,
}: {
  proto?: string
  ports?: Rule['ports']
  sport?: Rule['sport']
  icmpType?: string
}): Partial<Rule> {
  return {
    ...(proto === undefined || proto === 'all' ? {} : { proto }),
    ...(ports ? { ports } : {}),
    ...(sport ? { sport } : {}),
    ...(icmpType === undefined ? {} : { icmpType }),
  }
}

function matches(source: Match, destination: Match): Partial<Rule> {
  return {
    ...(source.ranges === 'any' ? {} : { source }),
    ...(destination.ranges === 'any' ? {} : { destination }),
  }
}

function unique(rules: readonly Rule[]): Rule[] {
  const seen = new Set<string>()
  return rules.filter((rule) => {
    const key = JSON.stringify(rule, (_, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    )
    return !seen.has(key) && seen.add(key)
  })
}

function usedSets(chains: readonly Chain[]): KernelSet[] {
  const sets = chains.flatMap(({ rules }) =>
    rules.flatMap(({ source, destination }) => [source?.set, destination?.set]),
  )
  const byName = new Map(sets.flatMap((set) => (set ? [[set.name, set]] : [])))
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
