/**
 * Three uplinks of one node: two providers and a tunnel without a gateway, each with a public address of its own in both families. All
 * of them drop, and count, packets whose source is not theirs.
 */
import type { Lab } from './lab.ts'
import { inetPlan, node1Plan } from './plan.ts'

/** The plan; the tunnel comes with `addTunnel`. */
export const twoProviders = {
  uplinks: [
    ...node1Plan.uplinks,
    { name: 'eth1', segment: 'eth1', addresses: ['192.0.2.2/24', '2001:db8:2::2/64'] },
  ],
  routes: [
    ...node1Plan.routes,
    'default via 192.0.2.1 dev eth1 metric 200',
    'default via 2001:db8:2::1 dev eth1 metric 2000',
  ],
  inet: {
    segments: { ...inetPlan.segments, eth1: ['192.0.2.1/24', '2001:db8:2::1/64'] },
    others: ['198.51.100.7/32', '2001:db8:51::7/128'],
  },
}

/** The address of the node at each uplink. */
export const uplinkAddresses = {
  vmbr0: { 4: '203.0.113.2', 6: '2001:db8:113::2' },
  eth1: { 4: '192.0.2.2', 6: '2001:db8:2::2' },
  wg0: { 4: '203.0.115.2', 6: '2001:db8:115::2' },
} as const

const SOURCES = [
  ['eth0', '203.0.113.0/24', '2001:db8:113::/64'],
  ['eth1', '192.0.2.0/24', '2001:db8:2::/64'],
  ['wg0', '203.0.115.0/24', '2001:db8:115::/64'],
] as const

/** Both ends of a link without neighbours have one hardware address, which frames carry as sender and receiver. */
const MAC = '02:77:67:30:00:01'

/** The tunnel wg0, as a link without ARP; it has no default route. */
export async function addTunnel(lab: Lab): Promise<void> {
  await lab.ip('pve', [
    `link add wg0 address ${MAC} type veth peer name wg0 address ${MAC} netns ${lab.ns('inet').pid}`,
    'link set wg0 arp off mtu 1420 up',
    'addr add 203.0.115.2/32 dev wg0',
    'addr add 2001:db8:115::2/128 dev wg0 nodad',
  ])
  await lab.ip('inet', [
    'link set wg0 arp off mtu 1420 up',
    'route add 203.0.115.2/32 dev wg0',
    'route add 2001:db8:115::2/128 dev wg0',
  ])
}

/** Providers drop what is not from their network, link-local and multicast aside. */
export async function dropForeignSources(lab: Lab): Promise<void> {
  const lines = SOURCES.flatMap(([dev, v4, v6]) => [
    `iptables-nft -t raw -A PREROUTING -i ${dev} ! -s ${v4} -j DROP`,
    `ip6tables-nft -t raw -A PREROUTING -i ${dev} -s fe80::/10 -j ACCEPT`,
    `ip6tables-nft -t raw -A PREROUTING -i ${dev} -d ff00::/8 -j ACCEPT`,
    `ip6tables-nft -t raw -A PREROUTING -i ${dev} ! -s ${v6} -j DROP`,
  ])
  await lab.exec('inet', ['sh', '-ec', lines.join('\n')])
}

/** Providers count from nought. */
export async function forgetLeaks(lab: Lab): Promise<void> {
  await lab.exec('inet', ['sh', '-ec', 'iptables-nft -t raw -Z; ip6tables-nft -t raw -Z'])
}

/** Packets that came to a provider with a source of somebody else, as `iptables-save` counts them. */
export async function leaks(lab: Lab): Promise<string[]> {
  const { stdout } = await lab.exec('inet', [
    'sh',
    '-c',
    'iptables-nft-save -c -t raw; ip6tables-nft-save -c -t raw',
  ])
  return stdout.split('\n').filter((line) => /^\[[1-9].*-j DROP$/.test(line))
}
