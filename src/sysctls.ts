/** The sysctls that NAT needs, and nothing else. */
import type { Family } from './address.ts'
import type { Network } from './network.ts'
import type { Ruleset } from './ruleset/model.ts'

/** Switches forwarding for a family; a path below /proc/sys. */
export const FORWARDING: Readonly<Record<Family, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
}

/** A path below /proc/sys as `sysctl` has it. */
export function dotted(path: string): string {
  return path.replaceAll('/', '.')
}

/** Paths below /proc/sys and the values they must have. Forwarding of IPv6 would end router advertisements on external interfaces, unless accept_ra is 2. */
export function wantedSysctls(
  { chains }: Ruleset,
  { external }: Pick<Network, 'external'>,
): Map<string, string> {
  const wanted = new Map<string, string>()
  if (chains[4].length > 0) wanted.set(FORWARDING[4], '1')
  if (chains[6].length > 0) {
    for (const { name } of external) wanted.set(`net/ipv6/conf/${name}/accept_ra`, '2')
    wanted.set(FORWARDING[6], '1')
  }
  return wanted
}
