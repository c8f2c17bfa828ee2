/**
 * MSS: TCP connections of guests are told the segment size that fits an uplink which takes smaller packets than the guests' network, in
 * both directions. A provider that loses the ICMP message "too big" would otherwise stall them (a path MTU black hole).
 *
 * Not by --clamp-mss-to-pmtu: for a connection from outside it looks up the client in the table main and so takes the MTU of the default
 * route's uplink. A rule never raises a segment size (measured on kernel 6.18), and bridged packets match neither rule.
 */
import type { Family } from '../address.ts'
import type { View } from '../nat/view.ts'
import type { Uplink } from '../uplinks.ts'
import { chainOf, type Chain, type Rule } from './ruleset.ts'

/** The id under which the kernel's refusal of all this is kept. */
export const CLAMP_MSS = 'clamp-mss'

/** In bytes, of a network whose interface does not tell. */
const USUAL_MTU = 1500

/** IP and TCP headers without options, in bytes. */
const HEADERS = { 4: 40, 6: 60 } as const

/** Nothing where no uplink takes smaller packets than the widest internal network. */
export function clampMss(
  { network, settings, quarantined }: Pick<View, 'network' | 'settings' | 'quarantined'>,
  family: Family,
): Chain[] {
  if (!settings.clampMss || quarantined.has(CLAMP_MSS)) return []
  const inside = network.internal.filter((one) => one.network.family === family)
  const widest = Math.max(...inside.map(({ mtu = USUAL_MTU }) => mtu))
  const rules = network.external.flatMap(({ name, uplink }): Rule[] => {
    const mtu = mtuOf(uplink, family)
    if (mtu >= widest) return []
    const target = { kind: 'mss', mss: mtu - HEADERS[family] } as const
    const base = { proto: 'tcp', syn: true, target, serves: CLAMP_MSS } as const
    return [
      { in: name, notOut: name, ...base },
      { notIn: name, out: name, ...base },
    ]
  })
  return rules.length === 0 ? [] : chainOf('mangle', 'PVENAT-MSS', rules)
}

/** The largest packet that an uplink takes, in bytes: of the link or of its default route. */
function mtuOf(uplink: Uplink | undefined, family: Family): number {
  return Math.min(uplink?.mtu ?? Infinity, uplink?.ways[family]?.mtu ?? Infinity)
}
