/** What a rule or each row of its macro asks of protocol and ports, in pvenat's own names. */
import type { Family } from '../address.ts'
import type { FwRule } from '../fw/fw-file.ts'
import { expandMacro } from '../fw/macros.ts'
import { parsePortList } from '../fw/ports.ts'
import type { PortRange } from '../ports.ts'

export interface Template {
  /** iptables' name: tcp, udp, sctp, esp, ah, gre, 4, 94, 41, icmp, icmpv6, or whatever PVE has; '' for any. */
  proto: string
  /** Destination ports; empty for any. */
  dports: PortRange[]
  /** Source ports of the rule or the macro; empty for any. */
  sports: PortRange[]
  icmpType?: string
}

export const WITH_PORTS: ReadonlySet<string> = new Set(['tcp', 'udp', 'sctp'])
export const WITHOUT_PORTS: ReadonlySet<string> = new Set(['esp', 'ah', 'gre', '4', '94', '41'])
export const ICMP: ReadonlySet<string> = new Set(['icmp', 'icmpv6'])
/** Protocols whose ports iptables can match; dccp cannot be forwarded, but it can go out. */
export const MATCHES_PORTS: ReadonlySet<string> = new Set([...WITH_PORTS, 'dccp'])
/** All protocols that rules of ours may name. Both backends and families load each of them (test/packets/words.test.ts). */
export const PROTOCOLS: ReadonlySet<string> = new Set([
  ...MATCHES_PORTS,
  ...WITHOUT_PORTS,
  ...ICMP,
  'udplite',
])

/** The word for a protocol that is used in rules. */
export function protocolName(text: string): string {
  return NAMES[text] ?? text
}

/** As programs know it that do not know our words; without /etc/protocols conntrack takes a word for number 0. */
export function protocolNumber(name: string): string {
  return Object.keys(NAMES).find((key) => NAMES[key] === name && /^\d+$/.test(key)) ?? name
}

/** Numbers and aliases of /etc/protocols → the word that is used in rules. IPIP is 94 to PVE's macro, 4 to most of the world. */
const NAMES: Readonly<Record<string, string>> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '33': 'dccp',
  '47': 'gre',
  '50': 'esp',
  '51': 'ah',
  '58': 'icmpv6',
  '132': 'sctp',
  '136': 'udplite',
  ipencap: '4',
  ipip: '94',
  ipv6: '41',
  'ipv6-icmp': 'icmpv6',
}

/** The templates of a valid rule for one family, in the macro's own order; empty when rule or macro are of the other one. */
export function templates(rule: FwRule, family: Family, services: ReadonlyMap<string, number>): Template[] {
  return expandMacro(rule, family).map((match) => {
    const template: Template = {
      proto: protocolName(match.proto ?? ''),
      dports: ports(match.dport, services),
      sports: ports(match.sport, services),
    }
    if (match.icmpType !== undefined) template.icmpType = match.icmpType
    return template
  })
}

/** The ports of a list that pve-firewall accepted. */
export function ports(text: string | undefined, services: ReadonlyMap<string, number>): PortRange[] {
  const list = text === undefined ? { ports: [] } : parsePortList(text, services)
  return 'ports' in list ? list.ports : []
}
