/** Cards of chaos for several uplinks: links, gateways, tunnels, routing of others and the service itself come and go. */
import { addTunnel } from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'
import { makeRandom } from './random.ts'

const sh = (script: string) => (node: TestNode) => node.sh(script)

/** Each leaves the node with its three uplinks. */
const CARDS: Record<string, (node: TestNode) => Promise<unknown>> = {
  'a link goes down and comes up': sh(
    'ip link set eth1 down; ip link set eth1 up; ip addr add 2001:db8:2::2/64 dev eth1 nodad',
  ),
  'the first uplink goes and comes back': sh(
    `ip link set vmbr0 down; ip link set vmbr0 up; ip addr add 2001:db8:113::2/64 dev vmbr0 nodad
    ip route add default via 203.0.113.1; ip -6 route add default via 2001:db8:113::1`,
  ),
  'a tunnel is made anew': async (node) => {
    await node.sh('ip link del wg0')
    await addTunnel(node.lab)
  },
  'a gateway is told anew': sh('ip route replace default via 192.0.2.1 dev eth1 metric 200'),
  'routing rules go': sh(
    'while ip rule del protocol 118; do :; done; while ip -6 rule del protocol 118; do :; done',
  ),
  'routes go': sh('for t in 7701 7702 7703; do ip route flush table $t; ip -6 route flush table $t; done'),
  'the marks go': (node) =>
    node.sh(`iptables-${node.backend} -w -t mangle -F; ip6tables-${node.backend} -w -t mangle -F`),
  'wg-quick comes and goes': sh(
    `ip route add default dev wg0 table 51820
    ip rule add not fwmark 51820 table 51820; ip rule add table main suppress_prefixlength 0
    ip rule del table main suppress_prefixlength 0; ip rule del table 51820; ip route flush table 51820`,
  ),
  'a guest chooses another uplink': async (node) => {
    await node.save('firewall/105.fw', 'OUT ACCEPT # NAT via=eth1', 'IN SSH(ACCEPT) # NAT 1022')
    await node.save('firewall/105.fw', 'OUT ACCEPT # NAT', 'IN SSH(ACCEPT) # NAT 1022')
  },
  'the service is killed': async (node) => {
    await node.pvenat.service?.stop('SIGKILL')
    node.pvenat.launch()
  },
}

/** So many cards, dealt by the seed. */
export function dealUplinks(seed: number, count: number): ((node: TestNode) => Promise<unknown>)[] {
  const random = makeRandom(seed)
  const deck = Object.values(CARDS).map((card) => ({ card, key: random.below(1 << 30) }))
  return deck
    .sort((a, b) => a.key - b.key)
    .slice(0, count)
    .map(({ card }) => card)
}
