/**
 * Helpers of connection tracking that the node's option nf_conntrack_helpers switches on. The first CT target decides, and our zone
 * rule comes before pve-firewall's helper rules, so it attaches the helpers itself (pve-firewall Firewall.pm, compile_iptables_raw).
 */
import type { Family } from '../address.ts'
import type { Dispatch, Forward } from '../nat/model.ts'
import type { PortRange } from '../ports.ts'
import type { Rule } from './model.ts'

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

/** The helpers that a value of the option names. */
export function helpersOf(option: string | number | undefined, family: Family): Helper[] {
  const names = String(option ?? '').split(/[\s,;]+/)
  return HELPERS.filter(({ name, families }) => names.includes(name) && families.includes(family))
}

/** On the firewall bridges of guests, where addresses and ports are the inner ones; each before the zone rule. */
export function bridgeHelpers(helpers: readonly Helper[], bridges: string, zone: number): Rule[] {
  return helpers.map(({ name, proto, port }) => ({
    in: bridges,
    proto,
    ports: [port, port],
    target: { kind: 'zone', zone, helper: name },
  }))
}

/** At external ports that lead to the port of a helper and are another number; for the same number pve-firewall's rule does. */
export function shiftedHelpers({ common, addresses }: Dispatch, helpers: readonly Helper[]): Rule[] {
  return addresses.flatMap(({ address, special, common: shares }) =>
    [...special, ...(shares ? common : [])].flatMap((forward) =>
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
