/** The one node that all generated rules are for: two external interfaces, two internal networks, five guests. */
import { plainNetwork } from '../network.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { network, parseIp, type Range } from '../../src/address.ts'
import type { Look } from '../../src/read.ts'
import { fixture } from '../fw/context.ts'
import type { GuestPlan, LabOptions } from '../lab/index.ts'
import { span, within, type Family } from './ip.ts'

interface Interface {
  name: string
  external: boolean
  /** `address/length`, in the order in which they were added. */
  addresses: string[]
}

export const INTERFACES: readonly Interface[] = [
  {
    name: 'vmbr0',
    external: true,
    addresses: ['203.0.113.2/24', '203.0.113.7/24', '2001:db8:113::2/64', '2001:db8:113::7/64'],
  },
  { name: 'eth1', external: true, addresses: ['192.0.2.2/24'] },
  { name: 'vmbr1', external: false, addresses: ['10.10.10.1/24', 'fd10::1/64'] },
  { name: 'vmbr2', external: false, addresses: ['10.20.20.1/24', 'fd20::1/64'] },
]

export interface WorldGuest {
  vmid: number
  kind: 'qemu' | 'lxc'
  /** The NIC has firewall=1, so its packets pass a bridge of their own. */
  firewall: boolean
  bridge: string
  addresses: string[]
}

export const GUESTS: readonly WorldGuest[] = [
  { vmid: 105, kind: 'lxc', firewall: false, bridge: 'vmbr1', addresses: ['10.10.10.105', 'fd10::105'] },
  { vmid: 107, kind: 'qemu', firewall: true, bridge: 'vmbr1', addresses: ['10.10.10.107'] },
  { vmid: 108, kind: 'lxc', firewall: true, bridge: 'vmbr1', addresses: ['10.10.10.108', 'fd10::108'] },
  { vmid: 110, kind: 'lxc', firewall: true, bridge: 'vmbr2', addresses: ['10.20.20.110', 'fd20::110'] },
  { vmid: 200, kind: 'qemu', firewall: false, bridge: 'vmbr0', addresses: ['203.0.113.50'] },
]

/** Guests on an internal network: those that have rules. */
export const OWNERS = GUESTS.filter(({ bridge }) => bridge !== 'vmbr0')
export const INNER = OWNERS.flatMap(({ addresses }) => addresses)

/** Hosts of the internet; the first of a family is the router. */
export const HOSTS: readonly string[] = [
  '203.0.113.1',
  '198.51.100.7',
  '198.51.100.8',
  '192.0.2.1',
  '192.0.2.9',
  '2001:db8:113::1',
  '2001:db8:51::7',
  '2001:db8:51::8',
]

export const EXTERNAL: readonly string[] = INTERFACES.filter(({ external }) => external).flatMap(
  ({ addresses }) => addresses.map(bare),
)

export function bare(address: string): string {
  return address.replace(/\/.*/, '')
}

export function familyOf(address: string): Family {
  return span(address).family
}

/** The interface by which packets to an address leave, `local` for the node's own addresses. */
export function route(address: string): string {
  if (INTERFACES.some(({ addresses }) => addresses.some((own) => bare(own) === address))) return 'local'
  if (within(span('169.254.77.128/25'), address) || within(span('fd77:0:0:1::/64'), address)) return 'pvenat0'
  return networkOf(address)?.name ?? 'vmbr0'
}

/** The interface that has an address in its network. */
export function networkOf(address: string): Interface | undefined {
  return INTERFACES.find(({ addresses }) => addresses.some((own) => within(networkSpan(own), address)))
}

/** What masquerading makes the source: the kernel prefers the IPv4 address that came first and the IPv6 address that came last. */
export function nodeAddress(name: string, family: Family): string {
  const own = addressesOf(name).filter((address) => familyOf(bare(address)) === family)
  const chosen = family === 4 ? own[0] : own.at(-1)
  if (chosen === undefined) throw new Error(`no IPv${family} address on ${name}`)
  return bare(chosen)
}

export function guestAt(address: string): WorldGuest | undefined {
  return GUESTS.find(({ addresses }) => addresses.includes(address))
}

/** `203.0.113.2/24` → the network around it. */
function networkSpan(own: string): ReturnType<typeof span> {
  const one = span(bare(own))
  const size = span(own)
  const width = size.hi - size.lo + 1n
  const lo = one.lo - (one.lo % width)
  return { family: one.family, lo, hi: lo + width - 1n }
}

/** What the tracer asks of that node. */
export const SURROUNDINGS = {
  route,
  nodeAddress,
  firewallBridge(address: string): string | undefined {
    const guest = guestAt(address)
    return guest?.firewall ? `fwbr${guest.vmid}i0` : undefined
  },
}

/** Every guest may use snat=1, also one that sits outside. */
const GRANTED: Look['settings']['guests'] = new Map(
  GUESTS.map(({ vmid, bridge, addresses: [first = ''] }) => {
    const address = bridge === 'vmbr0' ? parseIp(first) : undefined
    return [vmid, { snat: true, ...(address ? { address } : {}) }]
  }),
)

/** The same as lines of pvenat.conf. */
export const GRANTED_CONF = GUESTS.map(({ vmid, bridge, addresses: [first = ''] }) =>
  [`[guest ${vmid}]`, 'snat = yes', ...(bridge === 'vmbr0' ? [`address = ${first}`] : [])].join('\n'),
).join('\n')

/** What pvenat would see on that node; `files` are .fw texts by their path below the pve directory. */
export function lookAt(files: ReadonlyMap<string, string>): Look {
  return {
    node: NODE,
    network: NETWORK,
    settings: { ...DEFAULT_SETTINGS, guests: GRANTED },
    hasProxmoxFirewall: false,
    now: 1_760_000_000,
    tree: {
      fw: new Map(files),
      guests: GUESTS.map((guest) => ({ vmid: guest.vmid, type: guest.kind, config: configOf(guest) })),
      owners: new Map(GUESTS.map(({ vmid }) => [vmid, NODE])),
    },
    services: SERVICES,
    protocols: PROTOCOLS,
  }
}

export const NODE = 'pve1'

// The names that generated rules use; reading all of them would take longer than the rest of a run.
const SERVICES = 'ssh 22/tcp\n'
const PROTOCOLS = fixture('protocols')
  .split('\n')
  .filter((line) => /^(tcp|udp|sctp)\s/.test(line))
  .join('\n')

const NETWORK = plainNetwork(
  INTERFACES.filter(({ external }) => external).map(({ name, addresses }) => ({
    name,
    addresses: addresses.map((own) => ip(bare(own))),
    families: name === 'eth1' ? [4] : [4, 6],
    networks: addresses.map(around),
  })),
  INTERFACES.filter(({ external }) => !external).flatMap(({ name, addresses }) =>
    addresses.map((own) => ({ bridge: name, network: around(own), address: ip(bare(own)) })),
  ),
)

function ip(text: string): Range {
  return parseIp(text) as Range
}

function around(own: string): Range {
  const { family, lo } = ip(bare(own))
  return network(family, lo, Number(own.replace(/.*\//, '')))
}

export function macOf(vmid: number): string {
  return `BC:24:11:00:0${String(vmid).slice(0, 1)}:${String(vmid).slice(1)}`
}

/** The guest's config as Proxmox VE has it. */
export function configOf({ vmid, kind, firewall, bridge, addresses }: WorldGuest): string {
  const [v4, v6] = addresses
  const words = [`ip=${v4}/24`, ...(v6 === undefined ? [] : [`ip6=${v6}/64`])].join(',')
  const nic = `bridge=${bridge}${firewall ? ',firewall=1' : ''}`
  return kind === 'qemu'
    ? `name: g${vmid}\nnet0: virtio=${macOf(vmid)},${nic}\nipconfig0: ${words}\n`
    : `hostname: g${vmid}\nnet0: name=eth0,${nic},hwaddr=${macOf(vmid)},${words},type=veth\n`
}

/** The same node as the lab builds it. */
export const LAB: LabOptions = {
  uplinks: [
    { name: 'eth0', segment: 'eth0', bridge: 'vmbr0' },
    { name: 'eth1', segment: 'eth1', addresses: addressesOf('eth1') },
  ],
  bridges: ['vmbr0', 'vmbr1', 'vmbr2'].map((name) => ({ name, addresses: addressesOf(name) })),
  routes: [
    'default via 203.0.113.1',
    'default via 192.0.2.1 dev eth1 metric 500',
    'default via 2001:db8:113::1',
  ],
  guests: GUESTS.map((guest): GuestPlan => {
    const [address, address6] = guest.addresses
    const gateway = guest.bridge === 'vmbr0' ? '203.0.113.1' : nodeAddress(guest.bridge, 4)
    const plan: GuestPlan = { ...guest, mac: macOf(guest.vmid), address: `${address}/24`, gateway }
    if (address6 === undefined) return plan
    return { ...plan, address6: `${address6}/64`, gateway6: nodeAddress(guest.bridge, 6) }
  }),
  inet: {
    segments: { eth0: ['203.0.113.1/24', '2001:db8:113::1/64'], eth1: ['192.0.2.1/24'] },
    others: [
      '198.51.100.7/32',
      '198.51.100.8/32',
      '192.0.2.9/32',
      '2001:db8:51::7/128',
      '2001:db8:51::8/128',
    ],
  },
}

function addressesOf(name: string): string[] {
  return INTERFACES.find((one) => one.name === name)?.addresses ?? []
}
