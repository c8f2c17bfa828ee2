/**
 * PVENAT-PASS, at the end of FORWARD: our forwards, our egress and their answers pass although another program (Docker) set the policy of
 * FORWARD to DROP. No other packet passes. The chain stands last, so packets that another rule refuses stay refused. It exists only while the
 * policy is DROP.
 */
import { ANY } from '../nat/match.ts'
import type { Egress, Forward, KernelSet } from '../nat/nat-rule.ts'
import { innerPorts } from '../nat/pieces.ts'
import { isWide, matches, packets, pairs, pairSet } from './conditions.ts'
import { joined, type Part, type Rule } from './ruleset.ts'
import { LOOP_IN, LOOP_OUT, NO_LOOP, type Loop } from './self-hairpin.ts'
import { behindJump, splitByAddress, type ByAddress } from './split.ts'
import type { Wanted } from './wanted.ts'

const target = { kind: 'accept' } as const

export function passLoop(loop: Loop): Rule[] {
  if (loop === NO_LOOP) return []
  return [LOOP_OUT, LOOP_IN].flatMap((name) => [
    { in: name, target },
    { out: name, target },
  ])
}

/** Forwards and egress where the packet is routed. */
export function passRouted(wanted: Wanted): Part {
  return acceptMany([...passForwards(wanted), ...wanted.egresses.flatMap(passEgress)], 'PVENAT-PASS', wanted)
}

/** Rules that all accept: many of them are split by their source, or else by their destination. */
function acceptMany(rules: readonly Rule[], name: string, { family, sizes }: Wanted): Part {
  if (rules.length < sizes.plain) return { rules: [...rules], chains: [] }
  const by = (side: ByAddress['side'], end: string): ByAddress => ({
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
    others,
    behindJump('filter', `${name}-FROM`, splitByAddress(bySource, by('source', 'F'), sizes)),
    behindJump('filter', `${name}-TO`, splitByAddress(byDestination, by('destination', 'T'), sizes)),
  ])
}

/**
 * Packets of guests with firewall=1 cross FORWARD once more on their firewall bridge. A packet that pve-firewall refuses does not come this
 * far, so packets that NAT may let in or out pass here; the decision falls where they are routed.
 */
export function passBridged(wanted: Wanted): Part {
  const { internal } = wanted
  const answers: Rule[] = (['in', 'out'] as const).map((bridged) => ({
    bridged,
    state: 'ESTABLISHED',
    target,
  }))
  const { set, wide } = innerEndpoints(wanted)
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
  return joined([answers, acceptMany(inward, 'PVENAT-BRIDGE', wanted), [...neighbours, ...outward]])
}

/** To the inner address and port, and answers from there; translated packets only. */
function passForwards(wanted: Wanted): Rule[] {
  const { set, wide } = innerEndpoints(wanted)
  const translated = { state: 'DNAT', target } as const
  const members: Rule[] = [
    { ...translated, pair: set, sides: 'dst,dst', direction: 'ORIGINAL' },
    { ...translated, pair: set, sides: 'src,src', direction: 'REPLY' },
  ]
  return [...(set.entries.length > 0 ? members : []), ...wide.flatMap(passWide)]
}

function innerEndpoints({ forwards, family }: Wanted): { set: KernelSet; wide: Forward[] } {
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
  const translated = { ...bare, state: 'DNAT', target } as const
  return [
    { ...translated, ...(ports ? { ports } : {}), destination: { ranges: [inner] }, direction: 'ORIGINAL' },
    { ...translated, ...(ports ? { sport: ports } : {}), source: { ranges: [inner] }, direction: 'REPLY' },
  ]
}

/** Out by the external interface, and answers in by it. A routed network (`none` without a destination) also takes calls. */
function passEgress(egress: Egress): Rule[] {
  const { source, destination, out, exempt } = egress
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
