/**
 * PVENAT-PASS: what a FORWARD policy of DROP, which somebody else set (Docker does), must not stop: our forwards, our egress and
 * their answers, and nothing else. Only there while the policy is DROP.
 */
import { formatRange, type Family } from '../address.ts'
import type { Dispatch } from '../nat/claims.ts'
import { ANY } from '../nat/match.ts'
import type { InternalNetwork } from '../nat/view.ts'
import type { Egress, Forward, KernelSet, NatRule } from '../nat/model.ts'
import { matches, packets } from './conditions.ts'
import { LOOP_IN, LOOP_OUT, NO_LOOP, type Loop } from './loop.ts'
import type { Rule } from './model.ts'

export const PASSED_CHAIN = 'PVENAT-PASSED'

/** Wider forwards are matched by a rule instead of a member of the set each. */
const MAX_SET_WIDTH = 256

export function passRules(
  rules: readonly NatRule[],
  { common, addresses }: Dispatch,
  family: Family,
  loop: Loop,
): Rule[] {
  const forwards = [...common, ...addresses.flatMap(({ special }) => special)]
  const egresses = rules.flatMap((rule) => rule.egresses).filter((egress) => egress.family === family)
  return [...passLoop(loop), ...passForwards(forwards, family), ...egresses.flatMap(passEgress)]
}

/**
 * PVENAT-PASSED, at the end of FORWARD: what a guest with firewall=1 sends crosses FORWARD once more on its firewall bridge. There
 * pve-firewall decides; what it lets pass would then meet the policy.
 */
export function passedRules(
  rules: readonly NatRule[],
  family: Family,
  internal: readonly InternalNetwork[],
): Rule[] {
  const egresses = rules.flatMap((rule) => rule.egresses).filter((egress) => egress.family === family)
  const hairpin = internal.map(({ network }): Rule => ({
    destination: { ranges: [network] },
    target: { kind: 'return' },
  }))
  const senders = [
    ...egresses.map(({ source }) => source),
    ...internal.map(({ network }) => ({ ranges: [network] })),
  ]
  return [
    ...hairpin,
    ...senders.map((source): Rule => ({ ...matches(source, ANY), passed: true, target: { kind: 'accept' } })),
  ]
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
  const entries = forwards.flatMap((forward) => {
    const { inner, proto } = forward
    const [lo, hi] = innerPorts(forward) ?? [1, 0]
    if (hi - lo >= MAX_SET_WIDTH) return []
    return Array.from(
      { length: Math.max(0, hi - lo + 1) },
      (_, i) => `${formatRange(inner)},${proto}:${lo + i}`,
    )
  })
  const set: KernelSet = {
    ...{ name: `pvenat-inner-v${family}`, type: 'hash:ip,port', family },
    entries: [...new Set(entries)].sort(),
  }
  const translated = { state: 'DNAT', target: { kind: 'accept' } } as const
  const members: Rule[] = [
    { ...translated, pair: set, sides: 'dst,dst', direction: 'ORIGINAL' },
    { ...translated, pair: set, sides: 'src,src', direction: 'REPLY' },
  ]
  const wide = forwards.filter((forward) => {
    const ports = innerPorts(forward)
    return !ports || ports[1] - ports[0] >= MAX_SET_WIDTH
  })
  return [...(entries.length > 0 ? members : []), ...wide.flatMap(passWide)]
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

function innerPorts({ ports, innerPort, single }: Forward): [number, number] | undefined {
  if (!ports || innerPort === undefined) return undefined
  return [innerPort, single ? innerPort : innerPort + ports[1] - ports[0]]
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
