/** The sysctls that NAT needs, and nothing else. */
import type { Family } from './address.ts'
import type { Network } from './network.ts'
import type { Ruleset } from './ruleset/ruleset.ts'

/** Switches forwarding for a family; a path below /proc/sys. */
export const FORWARDING: Readonly<Record<Family, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
}

/** A path below /proc/sys as `sysctl` has it: a dot in the name of an interface (vmbr0.10) is a slash there (sysctl(8)). */
export function dotted(path: string): string {
  return path
    .split('/')
    .map((part) => part.replaceAll('.', '/'))
    .join('.')
}

/** Paths below /proc/sys and the values they must have. Forwarding of IPv6 would end router advertisements on external interfaces, unless accept_ra is 2. */
export function wantedSysctls(
  { chains, loose }: Ruleset,
  { external }: Pick<Network, 'external'>,
): Map<string, string> {
  const wanted = new Map<string, string>()
  if (chains[4].length > 0) wanted.set(FORWARDING[4], '1')
  if (chains[6].length > 0) {
    for (const { name } of external) wanted.set(`net/ipv6/conf/${name}/accept_ra`, '2')
    wanted.set(FORWARDING[6], '1')
  }
  for (const name of loose) wanted.set(`net/ipv4/conf/${name}/${RP_FILTER}`, '2')
  return wanted
}

const RP_FILTER = 'rp_filter'

/**
 * The value that a sysctl must be given; undefined when it may stay as it is. `read` tells the value of one by its path. accept_ra 0 is
 * a choice, only 1 means "unless forwarding". Of the reverse path filter the larger of `all` and the interface holds, and only strict (1) drops.
 */
export async function neededValue(
  path: string,
  value: string,
  read: (path: string) => Promise<string | undefined>,
): Promise<{ old: string; value: string } | undefined> {
  const old = await read(path)
  if (old === undefined || old === value) return undefined
  if (path.endsWith('/accept_ra') && old === '0') return undefined
  if (path.endsWith(`/${RP_FILTER}`)) {
    const all = await read(`net/ipv4/conf/all/${RP_FILTER}`)
    if (Math.max(Number(old), Number(all ?? 0)) !== 1) return undefined
  }
  return { old, value }
}

/** The value that a sysctl has been given, by its path. */
export function givenValue(path: string): string {
  return path.endsWith('/accept_ra') || path.endsWith(`/${RP_FILTER}`) ? '2' : '1'
}
