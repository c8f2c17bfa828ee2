/**
 * PVENAT-PASS, at the end of FORWARD: what a policy of DROP, which somebody else set (Docker does), must not stop: our forwards, our
 * egress and their answers, and nothing else. At the end, so that whatever is refused by name stays refused. Only there while
 * the policy is DROP.
 */
import type { Family } from '../address.ts'
import { ANY } from '../nat/match.ts'
import type { Dispatch, Egress, Forward, KernelSet, NatRule } from '../nat/model.ts'
import { innerPorts } from '../nat/pieces.ts'
import type { InternalNetwork } from '../network.ts'
import { isWide, matches, packets, pairs, pairSet } from './conditions.ts'
import { LOOP_IN, LOOP_OUT, NO_LOOP, type Loop } from './loop.ts'
import { byAddress, inChain, joined, type AddressTree } from './flat.ts'
import type { Rule } from './model.ts'
import type { Sizes, Spread } from './tree.ts'

export function passRules(
  rules: readonly NatRule[],
  { common, addresses }: Dispatch,
  family: Family,
  internal: readonly InternalNetwork[],
  loop: Loop,
  sizes: Sizes,
): Spread {
  const forwards = [...common, ...addresses.flatMap(({ special }) => special)]
  const egresses = rules.flatMap((rule) => rule.egresses).filter((egress) => egress.family === family)
  return joined([
    { rules: passLoop(loop), chains: [] },
    passMany(
      [...passForwards(forwards, family), ...egresses.flatMap(passEgress)],
      'PVENAT-PASS',
      family,
      sizes,
    ),
    passBridges(forwards, family, internal, sizes),
  ])
}

/** Rules that all accept: many of them by what they name, their source or else their destination. */
function passMany(rules: readonly Rule[], name: string, family: Family, sizes: Sizes): Spread {
  if (rules.length < sizes.plain) return { rules: [...rules], chains: [] }
  const tree = (side: AddressTree['side'], end: string): AddressTree => ({
    table: 'filter',
    tag: `${name[7]}${end}`,
    family,
    side,
    anyOrder: true,
  })
  const bySource = rules.filter(({ source }) => source)
  const byDestination = rules.filter(({ source, destination }) => !source && destination)
  const others = rules.filter(({ source, destination }) => !source && !destination)
  return joined([
    { rules: others, chains: [] },
    inChain('filter', `${name}-FROM`, byAddress(bySource, tree('source', 'F'), sizes)),
    inChain('filter', `${name}-TO`, byAddress(byDestination, tree('destination', 'T'), sizes)),
  ])
}

/**
 * Packets of guests with firewall=1 cross FORWARD once more on their firewall bridge. What pve-firewall refuses there does not come this
 * far, so here what may go in or out by NAT may pass; whether it does was or will be decided where it is routed.
 */
function passBridges(
  forwards: readonly Forward[],
  family: Family,
  internal: readonly InternalNetwork[],
  sizes: Sizes,
): Spread {
  const target = { kind: 'accept' } as const
  const answers: Rule[] = (['in', 'out'] as const).map((bridged) => ({
    bridged,
    state: 'ESTABLISHED',
    target,
  }))
  const { set, wide } = innerEndpoints(forwards, family)
  const inward: Rule[] = [
    ...(set.entries.length > 0 ? [{ bridged: 'in', pair: set, sides: 'dst,dst', target } as const] : []),
    ...wide.map((forward): Rule => {
      const ports = innerPorts(forward)
      const proto = forward.proto === 'all' ? {} : { proto: forward.proto }
      return {
        ...proto,
        ...(ports ? { ports } : {}),
        bridged: 'in',
        destination: { ranges: [forward.inner] },
        target,
      }
    }),
  ]
  const neighbours = internal.map(({ network }): Rule => ({
    destination: { ranges: [network] },
    target: { kind: 'return' },
  }))
  const outward = internal.map(({ network }): Rule => ({
    bridged: 'out',
    source: { ranges: [network] },
    target,
  }))
  return joined([
    { rules: answers, chains: [] },
    passMany(inward, 'PVENAT-BRIDGE', family, sizes),
    { rules: [...neighbours, ...outward], chains: [] },
  ])
}

function passLoop(loop: Loop): Rule[] {
  if (loop === NO_LOOP) return []
  const target = { kind: 'accept' } as const
  return [LOOP_OUT, LOOP_IN].flatMap((name) => [
    { in: name, target },
    { out: name, target },
  ])
}

/** There: to the inner address and port. Back: from there. Only what was translated on its way. */
function passForwards(forwards: readonly Forward[], family: Family): Rule[] {
  const { set, wide } = innerEndpoints(forwards, family)
  const translated = { state: 'DNAT', target: { kind: 'accept' } } as const
  const members: Rule[] = [
    { ...translated, pair: set, sides: 'dst,dst', direction: 'ORIGINAL' },
    { ...translated, pair: set, sides: 'src,src', direction: 'REPLY' },
  ]
  return [...(set.entries.length > 0 ? members : []), ...wide.flatMap(passWide)]
}

function innerEndpoints(forwards: readonly Forward[], family: Family): { set: KernelSet; wide: Forward[] } {
  const entries = forwards.flatMap((forward) => {
    const ports = innerPorts(forward)
    return ports && !isWide(ports) ? pairs(forward.inner, forward.proto, ports) : []
  })
  return {
    set: pairSet('inner', family, entries),
    wide: forwards.filter((forward) => isWide(innerPorts(forward))),
  }
}

function passWide(forward: Forward): Rule[] {
  const { inner, proto } = forward
  const ports = innerPorts(forward)
  const bare = proto === 'all' ? {} : { proto }
  const translated = { ...bare, state: 'DNAT', target: { kind: 'accept' } } as const
  return [
    { ...translated, ...(ports ? { ports } : {}), destination: { ranges: [inner] }, direction: 'ORIGINAL' },
    { ...translated, ...(ports ? { sport: ports } : {}), source: { ranges: [inner] }, direction: 'REPLY' },
  ]
}

/** Out by the external interface, and answers in by it. A routed network (`none` without a destination) also takes calls. */
function passEgress(egress: Egress): Rule[] {
  const { source, destination, out, exempt } = egress
  const target = { kind: 'accept' } as const
  return out.flatMap((name): Rule[] => [
    { ...packets(egress), ...matches(source, destination), out: name, target },
    exempt && destination.ranges === 'any'
      ? { ...matches(ANY, source), in: name, target }
      : {
          ...matches(destination, source),
          in: name,
          direction: 'REPLY',
          ...(exempt ? {} : { state: 'SNAT' }),
          target,
        },
  ])
}
