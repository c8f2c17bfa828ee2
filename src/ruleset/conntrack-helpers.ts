/**
 * Helpers of connection tracking that the node's option nf_conntrack_helpers switches on. The first CT target decides, and our zone
 * rule comes before pve-firewall's helper rules, so it attaches the helpers itself (pve-firewall Firewall.pm, compile_iptables_raw).
 */
import type { Family } from '../address.ts'
import type { Forward } from '../nat/nat-rule.ts'
import type { PortRange } from '../ports.ts'
import { FIREWALL_BRIDGE_ZONE, FIREWALL_BRIDGES } from './firewall-bridges.ts'
import type { Rule } from './ruleset.ts'
import { forwardsByAddress, type Wanted } from './wanted.ts'

interface Helper {
  name: string
  proto: 'tcp' | 'udp'
  port: number
  families: readonly Family[]
}

const BOTH = [4, 6] as const

/** As pve-firewall knows them (Firewall/Helpers.pm). */
const HELPERS: readonly Helper[] = [
  { name: 'amanda', proto: 'udp', port: 10080, families: BOTH },
  { name: 'ftp', proto: 'tcp', port: 21, families: BOTH },
  { name: 'irc', proto: 'tcp', port: 6667, families: [4] },
  { name: 'netbios-ns', proto: 'udp', port: 137, families: [4] },
  { name: 'pptp', proto: 'tcp', port: 1723, families: [4] },
  { name: 'sane', proto: 'tcp', port: 6566, families: BOTH },
  { name: 'sip', proto: 'udp', port: 5060, families: BOTH },
  { name: 'snmp', proto: 'udp', port: 161, families: [4] },
  { name: 'tftp', proto: 'udp', port: 69, families: BOTH },
]

function helpersOf({ view, family }: Wanted): Helper[] {
  const names = String(view.host.options['nf_conntrack_helpers'] ?? '').split(/[\s,;]+/)
  return HELPERS.filter(({ name, families }) => names.includes(name) && families.includes(family))
}

/** Helpers on the firewall bridges of guests, where addresses and ports are the inner ones; each before the zone rule. */
export function bridgeHelpers(wanted: Wanted): Rule[] {
  return helpersOf(wanted).map(({ name, proto, port }) => ({
    in: FIREWALL_BRIDGES,
    proto,
    ports: [port, port],
    target: { kind: 'zone', zone: FIREWALL_BRIDGE_ZONE, helper: name },
  }))
}

/** Helpers at external ports that lead to the port of a helper and differ from it; for an equal port pve-firewall's rule does. */
export function shiftedHelpers(wanted: Wanted): Rule[] {
  const helpers = helpersOf(wanted)
  return forwardsByAddress(wanted.dispatch).flatMap(({ address, forwards }) =>
    forwards.flatMap((forward) =>
      helpers.flatMap(({ name, proto, port }): Rule[] => {
        const ports = proto === forward.proto ? outerPorts(forward, port) : undefined
        if (!ports || (ports[0] === port && ports[1] === port)) return []
        const destination = { ranges: [address] }
        return [
          { destination, proto, ports, target: { kind: 'helper', helper: name }, serves: forward.rule.id },
        ]
      }),
    ),
  )
}

/** The external ports that lead to an inner port. */
function outerPorts({ ports, innerPort, single }: Forward, inner: number): PortRange | undefined {
  if (!ports || innerPort === undefined) return undefined
  if (single) return innerPort === inner ? ports : undefined
  const port = ports[0] + inner - innerPort
  return ports[0] <= port && port <= ports[1] ? [port, port] : undefined
}
