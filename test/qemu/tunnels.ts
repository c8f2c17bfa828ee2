/** The packet table of real tunnels: a router VM beside those of the node, and a VPS that sends its address into one. */
import { CLIENT4, NODE4, NODE6, row, type Row, type Stage } from './stage.ts'

/** Ends of the node's WireGuard, and of the IPsec tunnel that the router or the node has. */
export const WIREGUARD = { inet: '10.77.0.1', node: '10.77.0.2', ports: [51900, 51901] } as const
export const IPSEC = { inet: '10.88.0.1', home: '10.88.0.2' } as const

const THE_REST: readonly Row[] = [
  row('TCP to the router', 'inet', `${NODE4}:9999/tcp`, { server: '107' }),
  row('TCP to the router, IPv6', 'inet', `${NODE6}:9999/tcp`, { server: '107' }),
  row('UDP to the router', 'inet', `${NODE4}:9999/udp`, { server: '107' }),
  row('the GUI', 'inet', `${NODE4}:8006/tcp`, { server: 'pve' }),
]

const overWireGuard = (port: number): Row[] => [
  row('through WireGuard to the node', 'inet', `${WIREGUARD.node}:8006/tcp`, {
    server: 'pve',
    seenAs: WIREGUARD.inet,
  }),
  row('through WireGuard from the node', 'pve', `${WIREGUARD.inet}:443/tcp`, {
    server: 'inet',
    seenAs: WIREGUARD.node,
  }),
  row('a stranger at the port of WireGuard', 'inet', `${NODE4}:${port}/udp`, null, CLIENT4),
  ...THE_REST,
]

const overIpsec = (server: string): Row =>
  row('through IPsec', 'inet', `${IPSEC.home}:7000/tcp`, { server, seenAs: IPSEC.inet })

const [FIRST, SECOND] = WIREGUARD.ports

export const ROUTER: readonly Stage[] = [
  {
    stage: 'a router VM, the node has no tunnel',
    rows: [
      ...THE_REST,
      row('a port that WireGuard will have', 'inet', `${NODE4}:${FIRST}/udp`, { server: '107' }, CLIENT4),
      overIpsec('107'),
    ],
    facts: {
      'ESP leads to': ['10.10.10.107'],
      'a peer of WireGuard that is early leads to': ['10.10.10.107'],
    },
  },
  {
    stage: 'a router VM, the node has WireGuard',
    rows: [...overWireGuard(FIRST), overIpsec('107')],
    facts: { 'the early peer leads to': [NODE4] },
  },
  {
    stage: 'a router VM, WireGuard of the node moved to another port',
    rows: overWireGuard(SECOND),
    facts: {},
  },
  { stage: 'a router VM, WireGuard of the node over IPv6', rows: overWireGuard(SECOND), facts: {} },
  {
    stage: 'a router VM, conntrack forgot all, and the peer speaks first',
    rows: overWireGuard(SECOND),
    facts: {},
  },
  {
    stage: 'a router VM, the node has IPsec',
    rows: [...overWireGuard(SECOND), overIpsec('pve')],
    facts: { 'ESP leads to': [NODE4] },
  },
]

const VPS = '203.0.113.9'
/** The address of the node in the tunnel that takes everything. */
export const ELSEWHERE = '10.78.0.2'

const BY_VPS: readonly Row[] = [
  row('forward, TCP', 'inet', `${VPS}:2222/tcp`, { server: '105', port: 22, seenAs: CLIENT4 }, CLIENT4),
  row('forward, UDP', 'inet', `${VPS}:15003/udp`, { server: '105', port: 5003, seenAs: CLIENT4 }, CLIENT4),
  row('egress with via=, TCP', '105', `${CLIENT4}:443/tcp`, { server: 'inet', seenAs: VPS }),
  row('egress with via=, UDP', '105', `${CLIENT4}:53/udp`, { server: 'inet', seenAs: VPS }),
]
const BY_NODE: readonly Row[] = [
  row('forward at the node, TCP', 'inet', `${NODE4}:2223/tcp`, { server: '105', seenAs: CLIENT4 }, CLIENT4),
  row('forward at the node, UDP', 'inet', `${NODE4}:15003/udp`, { server: '105', seenAs: CLIENT4 }, CLIENT4),
]
const egress = (seenAs: string): Row =>
  row('egress of others', '108', `${CLIENT4}:443/tcp`, { server: 'inet', seenAs })

export const THROUGH_VPS: readonly Stage[] = [
  {
    stage: 'a VPS through WireGuard',
    rows: [...BY_VPS, ...BY_NODE, egress(NODE4)],
    facts: { 'the MTU that wg-quick chose': 1420, 'packets with a wrong source': [] },
  },
  {
    stage: 'a VPS, and nobody tells that packets are too big',
    rows: [],
    facts: { 'from the client': true, 'from the guest': true, 'from the client, without clamp': false },
  },
  {
    stage: 'a VPS, the tunnel is made anew',
    rows: [...BY_VPS, ...BY_NODE, egress(NODE4)],
    facts: {
      'the connection of before resumes': true,
      'packets with a wrong source': [],
    },
  },
  {
    stage: 'a VPS, and wg-quick sends everything by another tunnel',
    rows: [...BY_VPS, ...BY_NODE, egress(ELSEWHERE)],
    facts: { 'routing rules of wg-quick that changed': '', 'packets with a wrong source': [] },
  },
]
