/** The packet table of both firewalls: who asks whom in which stage, and who has to answer. */
import { CLIENT4, CLIENT6, NODE4, NODE6, row, silent, type Row, type Stage } from './stage.ts'

/** With a guest that hangs behind a firewall bridge at one end or both. */
export const BEHIND: readonly Row[] = [
  row(
    'forward, TCP, to a VM',
    'inet',
    `${NODE4}:822/tcp`,
    { server: '107', port: 22, seenAs: CLIENT4 },
    CLIENT4,
  ),
  row(
    'forward, TCP, to a container',
    'inet',
    `${NODE4}:8080/tcp`,
    { server: '108', port: 80, seenAs: CLIENT4 },
    CLIENT4,
  ),
  row('forward, UDP', 'inet', `${NODE4}:15003/udp`, { server: '108', port: 5003, seenAs: CLIENT4 }, CLIENT4),
  row('forward for one client', 'inet', `${NODE4}:13306/tcp`, { server: '107', port: 3306 }, CLIENT4),
  row(
    'forward, IPv6, TCP',
    'inet',
    `${NODE6}:8080/tcp`,
    { server: '108', port: 80, seenAs: CLIENT6 },
    CLIENT6,
  ),
  row(
    'forward, IPv6, UDP',
    'inet',
    `${NODE6}:15003/udp`,
    { server: '108', port: 5003, seenAs: CLIENT6 },
    CLIENT6,
  ),
  row('from the node', 'pve', `${NODE4}:8080/tcp`, { server: '108', port: 80 }),
  row('from the node, IPv6', 'pve', `${NODE6}:8080/tcp`, { server: '108', port: 80 }),
  row('egress, TCP, from a VM', '107', '203.0.113.1:443/tcp', { server: 'inet', seenAs: NODE4 }),
  row('egress, TCP, from a container', '108', '203.0.113.1:443/tcp', { server: 'inet', seenAs: NODE4 }),
  row('egress, UDP', '108', '203.0.113.1:53/udp', { server: 'inet', seenAs: NODE4 }),
  row('egress, IPv6', '107', '[2001:db8:2::9]:443/tcp', { server: 'inet', seenAs: '2001:db8:113::2' }),
  row('itself, a VM', '107', `${NODE4}:822/tcp`, { server: '107', seenAs: '10.10.10.1' }),
  row('itself, a container, UDP', '108', `${NODE4}:15003/udp`, { server: '108', seenAs: '10.10.10.1' }),
  row('itself, IPv6', '108', `${NODE6}:8080/tcp`, { server: '108', seenAs: 'fd10::1' }),
]

/** From one guest to another; the last two between the guests that hang on the bridge themselves. */
export const HAIRPIN: readonly Row[] = [
  row('hairpin', '107', `${NODE4}:8080/tcp`, { server: '108', port: 80, seenAs: '10.10.10.1' }),
  row('hairpin, UDP', '107', `${NODE4}:15003/udp`, { server: '108', port: 5003, seenAs: '10.10.10.1' }),
  row('hairpin, IPv6', '107', `${NODE6}:8080/tcp`, { server: '108', port: 80, seenAs: 'fd10::1' }),
  row('hairpin from a guest without firewall bridge', '105', `${NODE4}:8080/tcp`, {
    server: '108',
    seenAs: '10.10.10.1',
  }),
  row('hairpin to a guest without firewall bridge', '107', `${NODE4}:1022/tcp`, {
    server: '105',
    seenAs: '10.10.10.1',
  }),
]

/** Guests without firewall bridge. */
export const DIRECT: readonly Row[] = [
  row(
    'forward to a guest without firewall bridge',
    'inet',
    `${NODE4}:1022/tcp`,
    { server: '105', port: 22, seenAs: CLIENT4 },
    CLIENT4,
  ),
  row('forward, IPv6, to a guest without firewall bridge', 'inet', `${NODE6}:1022/tcp`, {
    server: '105',
    seenAs: '2001:db8:113::1',
  }),
  row('forward to a VM that was started with the nftables firewall', 'inet', `${NODE4}:1622/tcp`, {
    server: '106',
    port: 22,
  }),
  row('egress from that VM', '106', '203.0.113.1:443/tcp', { server: 'inet', seenAs: NODE4 }),
  row('egress from a guest without firewall bridge', '105', '203.0.113.1:443/tcp', {
    server: 'inet',
    seenAs: NODE4,
  }),
  row('egress, UDP, from a guest without firewall bridge', '105', '203.0.113.1:53/udp', {
    server: 'inet',
    seenAs: NODE4,
  }),
  row('itself, a guest without firewall bridge', '105', `${NODE4}:1022/tcp`, {
    server: '105',
    seenAs: '10.10.10.1',
  }),
]

/** What is nobody's NAT keeps its addresses. */
export const FOREIGN: readonly Row[] = [
  row('a bridged guest outwards', '200', '203.0.113.1:443/tcp', { server: 'inet', seenAs: '203.0.113.50' }),
  row('a bridged guest outwards, IPv6', '200', '[2001:db8:113::1]:443/tcp', { seenAs: '2001:db8:113::50' }),
  row('to a bridged guest', 'inet', '203.0.113.50:822/tcp', {
    server: '200',
    port: 822,
    seenAs: '203.0.113.1',
  }),
  row('a service of the node', 'inet', `${NODE4}:8006/tcp`, {
    server: 'pve',
    port: 8006,
    seenAs: '203.0.113.1',
  }),
  row('from guest to guest', '105', '10.10.10.108:80/tcp', { server: '108', seenAs: '10.10.10.105' }),
]

export const ALL: readonly Row[] = [...BEHIND, ...HAIRPIN, ...DIRECT, ...FOREIGN]

/** With bridge-nf-call-iptables=1 the frame that comes back to its bridge is masqueraded no more; the answer finds its way all the same. */
const OWN_ADDRESS: readonly Row[] = HAIRPIN.map(({ answer, ...asked }) => ({
  ...asked,
  answer: {
    ...answer,
    seenAs: asked.to.startsWith('[') ? `fd10::${asked.from}` : `10.10.10.${asked.from}`,
  },
}))

/** In this order, on one node. */
export const FIREWALLS: readonly Stage[] = [
  {
    stage: 'the nftables firewall without br_netfilter, FORWARD drops',
    rows: ALL,
    facts: { 'br_netfilter is loaded': false, 'table bridge pvenat': true },
  },
  { stage: 'the iptables firewall', rows: ALL, facts: { 'table bridge pvenat': false } },
  {
    stage: 'the nftables firewall, switched on',
    rows: [...BEHIND, ...OWN_ADDRESS, ...DIRECT, ...FOREIGN],
    facts: { 'connections that live on': 4, 'table bridge pvenat': true },
  },
  {
    stage: 'the nftables firewall, bridged packets past iptables',
    rows: ALL,
    facts: { 'the table is still the same': true },
  },
  {
    stage: 'the nftables firewall, somebody deleted table bridge pvenat',
    rows: [...silent(BEHIND), ...DIRECT, ...FOREIGN],
    facts: { 'the fix of doctor': ['modprobe nf_conntrack_bridge; pvenat apply'] },
  },
  {
    stage: 'the nftables firewall, the fix of doctor put the table back',
    rows: [...BEHIND, ...DIRECT],
    facts: { 'the fix of doctor': [] },
  },
  {
    stage: 'the nftables firewall, the service put the table back',
    rows: [...BEHIND, ...DIRECT],
    facts: {},
  },
  { stage: 'rollback', rows: [], facts: { 'exit code': 0, 'table bridge pvenat': '', changed: '' } },
]
