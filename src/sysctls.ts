/** The sysctls that NAT needs, and nothing else. */
import type { Ruleset } from './ruleset/model.ts'

/** Paths below /proc/sys and the values they must have. Forwarding of IPv6 would end router advertisements on external interfaces, unless accept_ra is 2. */
export function wantedSysctls(
  { chains }: Ruleset,
  externalInterfaces: readonly string[],
): Map<string, string> {
  const wanted = new Map<string, string>()
  if (chains[4].length > 0) wanted.set('net/ipv4/ip_forward', '1')
  if (chains[6].length > 0) {
    for (const name of externalInterfaces) wanted.set(`net/ipv6/conf/${name}/accept_ra`, '2')
    wanted.set('net/ipv6/conf/all/forwarding', '1')
  }
  return wanted
}
