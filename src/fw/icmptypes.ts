/** The icmp types that pve-firewall knows, by name only (Firewall.pm, `$icmp_type_names`, `$icmpv6_type_names`). */

// prettier-ignore
const V4: ReadonlySet<string> = new Set([
  'any', 'echo-reply', 'destination-unreachable', 'network-unreachable', 'host-unreachable', 'protocol-unreachable',
  'port-unreachable', 'fragmentation-needed', 'source-route-failed', 'network-unknown', 'host-unknown',
  'network-prohibited', 'host-prohibited', 'TOS-network-unreachable', 'TOS-host-unreachable',
  'communication-prohibited', 'host-precedence-violation', 'precedence-cutoff', 'source-quench', 'redirect',
  'network-redirect', 'host-redirect', 'TOS-network-redirect', 'TOS-host-redirect', 'echo-request',
  'router-advertisement', 'router-solicitation', 'time-exceeded', 'ttl-zero-during-transit',
  'ttl-zero-during-reassembly', 'parameter-problem', 'ip-header-bad', 'required-option-missing',
  'timestamp-request', 'timestamp-reply', 'address-mask-request', 'address-mask-reply',
])

// prettier-ignore
const V6: ReadonlySet<string> = new Set([
  'destination-unreachable', 'no-route', 'communication-prohibited', 'beyond-scope', 'address-unreachable',
  'port-unreachable', 'failed-policy', 'reject-route', 'packet-too-big', 'time-exceeded', 'ttl-zero-during-transit',
  'ttl-zero-during-reassembly', 'parameter-problem', 'bad-header', 'unknown-header-type', 'unknown-option',
  'echo-request', 'echo-reply', 'router-solicitation', 'router-advertisement', 'neighbor-solicitation',
  'neighbour-solicitation', 'neighbor-advertisement', 'neighbour-advertisement', 'redirect',
])

/** The family of an icmp protocol by its name in a rule; undefined for all else, the numbers 1 and 58 included. */
export function icmpFamily(proto: string | undefined): 4 | 6 | undefined {
  if (proto === 'icmp') return 4
  return proto === 'icmpv6' || proto === 'ipv6-icmp' ? 6 : undefined
}

/** The names of one family. iptables of both backends knows each of them (test/packets/words.test.ts). */
export function icmpTypeNames(family: 4 | 6): string[] {
  return [...(family === 4 ? V4 : V6)]
}

/** True of an icmp type's name, in one family or, without one, in either. Case counts. */
export function isIcmpTypeName(name: string, family?: 4 | 6): boolean {
  return (family !== 6 && V4.has(name)) || (family !== 4 && V6.has(name))
}
