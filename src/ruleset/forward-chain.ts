/** PVENAT-FORWARD: packets that pvenat accepts before pve-firewall sees them, and packets that it blocks. */
import type { Range } from '../address.ts'
import type { Block, Forward } from '../nat/nat-rule.ts'
import type { InternalNetwork } from '../network.ts'
import { matches, packets } from './conditions.ts'
import type { Part, Rule } from './ruleset.ts'
import { splitByAddress } from './split.ts'
import type { Wanted } from './wanted.ts'

/**
 * An established connection costs one rule. The rule also stays when no other does, because the kernel cuts live connections when the last
 * rule that needs conntrack goes.
 */
export const leaveAllButNew: readonly Rule[] = [{ state: '!NEW', target: { kind: 'return' } }]

/** Rules that are written with -sport. */
export function acceptsOfSourcePorts({ forwards, internal, family, sizes }: Wanted): Part {
  const accepts = forwards.filter(({ accept }) => accept).flatMap((forward) => acceptInner(forward, internal))
  const by = { table: 'filter', tag: 'AC', family, side: 'destination', anyOrder: true } as const
  return splitByAddress(unique(accepts), by, sizes)
}

export function blocks({ blocks: all }: Wanted): Rule[] {
  return all.flatMap(blockRules)
}

/**
 * Forwards of ours lead into an isolated network nevertheless. Connections that begin in it are not routed; neighbours on its bridge reach each
 * other by any address.
 */
function blockRules(block: Block): Rule[] {
  const { action, direction, interfaces, source, destination, rule } = block
  const base: Rule = {
    ...packets(block),
    ...matches(source, destination),
    ...(direction === 'in' ? { state: '!DNAT' } : {}),
    routed: true,
    target: { kind: action === 'REJECT' ? 'reject' : 'drop' },
    serves: rule.id,
  }
  return interfaces?.map((name) => ({ ...base, [direction]: name })) ?? [base]
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
      : internal.flatMap(({ network, address }) => (address && covers(network, inner) ? [address] : []))
  return [
    { ...base, ...matches(source, destination) },
    ...node.map((address) => ({ ...base, ...matches({ ranges: [address] }, destination) })),
  ]
}

function covers(network: Range, { lo }: Range): boolean {
  return network.lo <= lo && lo <= network.hi
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
