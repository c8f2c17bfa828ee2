/** Bridges between tap and bridge, which exist for NICs with firewall=1 only (pve-common Network.pm). */
import type { Chain, Rule } from './ruleset.ts'

export const FIREWALL_BRIDGES = 'fwbr+'
export const FIREWALL_BRIDGE_ZONE = 1

/**
 * Without a zone a guest with firewall=1 could not be masqueraded: conntrack sees its packets on the firewall bridge first, and keeps the
 * decision that is made there.
 */
export const zoneOfFirewallBridges: readonly Rule[] = [
  { in: FIREWALL_BRIDGES, target: { kind: 'zone', zone: FIREWALL_BRIDGE_ZONE } },
]

/** With bridge-nf-call-iptables=1 a packet meets the nat table once more on the firewall bridge, and must not be translated there. */
export const leaveFirewallBridges: readonly Rule[] = [{ in: FIREWALL_BRIDGES, target: { kind: 'return' } }]

/**
 * Without br_netfilter no bridged packet meets iptables, and a rule with `-m physdev` would load it, after which all bridged packets do
 * (seen): conditions about bridged packets are left out.
 */
export function withoutPhysdev(chains: readonly Chain[]): Chain[] {
  return chains.map(({ rules, ...chain }) => ({
    ...chain,
    rules: rules.filter(({ bridged }) => !bridged).map((rule) => (rule.routed ? anywhere(rule) : rule)),
  }))
}

function anywhere(rule: Rule): Rule {
  const copy = { ...rule }
  delete copy.routed
  return copy
}
