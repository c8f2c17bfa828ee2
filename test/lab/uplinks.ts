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

/**
 * Providers drop what is not from their network, link-local and multicast aside. Sets of nft remember source, destination, protocol and
 * ports of each such packet, so that a failing test names it.
 */
export async function dropForeignSources(lab: Lab): Promise<void> {
  const lines = SOURCES.flatMap(([dev, v4, v6]) => [
    `iptables-nft -t raw -A PREROUTING -i ${dev} ! -s ${v4} -j DROP`,
    `ip6tables-nft -t raw -A PREROUTING -i ${dev} -s fe80::/10 -j ACCEPT`,
    `ip6tables-nft -t raw -A PREROUTING -i ${dev} -d ff00::/8 -j ACCEPT`,
    `ip6tables-nft -t raw -A PREROUTING -i ${dev} ! -s ${v6} -j DROP`,
  ])
  await lab.exec('inet', ['sh', '-ec', lines.join('\n')])
  const set = (family: string) =>
    `type ${family} . ${family} . inet_proto . inet_service . inet_service; flags dynamic; size 1000; counter`
  const packet = (ip: string) => `{ ${ip} saddr . ${ip} daddr . meta l4proto . th sport . th dport }`
  const remembered = SOURCES.flatMap(([dev, v4, v6]) => [
    `iifname ${dev} ip saddr != ${v4} update @strays4 ${packet('ip')}`,
    `iifname ${dev} ip6 saddr != { fe80::/10, ${v6} } ip6 daddr != ff00::/8 update @strays6 ${packet('ip6')}`,
  ])
  const input = `table inet strays {
    set strays4 { ${set('ipv4_addr')}; }
    set strays6 { ${set('ipv6_addr')}; }
    chain remember { type filter hook prerouting priority -301; ${remembered.join('\n')}
    }
  }`
  await lab.exec('inet', ['nft', '-f', '-'], { input })
}

/** Providers count from nought. */
export async function forgetLeaks(lab: Lab): Promise<void> {
  const script = `iptables-nft -t raw -Z; ip6tables-nft -t raw -Z
    for set in strays4 strays6; do nft flush set inet strays $set 2>/dev/null || true; done`
  await lab.exec('inet', ['sh', '-ec', script])
}

/**
 * Packets that came to a provider with a source of somebody else, as `iptables-save` counts them, and behind each line all packets that
 * the sets of `dropForeignSources` remember: source . destination . protocol . source port . destination port.
 */
export async function leaks(lab: Lab): Promise<string[]> {
  const script =
    'iptables-nft-save -c -t raw; ip6tables-nft-save -c -t raw; nft -n list table inet strays 2>/dev/null || true'
  const { stdout } = await lab.exec('inet', ['sh', '-c', script])
  const packets = stdout.match(/\S+ \. \S+ \. \S+ \. \d+ \. \d+ counter packets \d+ bytes \d+/g) ?? []
  return stdout
    .split('\n')
    .filter((line) => /^\[[1-9].*-j DROP$/.test(line))
    .map((line) => [line, ...packets].join('; '))
}
