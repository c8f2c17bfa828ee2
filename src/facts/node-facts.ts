/** What the node itself says, as values: read once at the edge (node/facts.ts) for `explain` and `doctor`. */
import { FAMILIES, type Family, type Range } from '../address.ts'
import type { Guest, Nic } from '../guest/guest.ts'
import { FORWARDING } from '../sysctls.ts'
import { BACKENDS, type Backend } from './backend.ts'
import type { Nftables } from './nftables.ts'

export interface Link {
  name: string
  up: boolean
  /** The bridge that it is a port of. */
  master?: string
}

export interface OwnAddress {
  dev: string
  ip: Range
}

export interface Neighbour {
  dev: string
  ip: Range
  /** Upper case; '' while nobody has answered. */
  mac: string
  /** As `ip neigh` has them: REACHABLE, STALE, FAILED … */
  states: string[]
}

/** A process that listens on a port, with its systemd unit where it has one. */
export interface PortHolder {
  proto: 'tcp' | 'udp'
  port: number
  pid: number
  name: string
  unit?: string
}

/** A line of /etc/network/interfaces that runs a command when an interface comes up. */
export interface BootLine {
  file: string
  /** Counted from 1. */
  line: number
  text: string
  /** The interface of its stanza. */
  iface?: string
}

interface Versions {
  node: string
  kernel: string
  /** '' when the program is missing. */
  iptables: string
  ipset: string
  conntrack: string
}

export interface ServiceState {
  /** The service is a running process. */
  running: boolean
  /** What `systemctl is-enabled` says; undefined where systemd does not run or has no such unit. */
  enabled?: string
}

export interface NodeFacts {
  /** The backend that pvenat uses. */
  backend: Backend
  /** By path below /proc/sys; what does not exist is missing. */
  sysctls: ReadonlyMap<string, string>
  links: readonly Link[]
  addresses: readonly OwnAddress[]
  /** There are rules of policy routing besides the three that every kernel has. */
  policyRouting: boolean
  neighbours: readonly Neighbour[]
  /** What the save programs print; '' where a backend is not in use, or could not be read (see `unread`). */
  tables: Readonly<Record<Backend, Readonly<Record<Family, string>>>>
  /** Tables of nft itself; none where nft is missing. */
  nftables: Nftables
  holders: readonly PortHolder[]
  /** Of /etc/network/interfaces and the files that it includes. */
  bootLines: readonly BootLine[]
  service: ServiceState
  versions: Versions
  /** What could not be read, and why. */
  unread: readonly string[]
}

/** Whether a chain is in the filter table of either backend. */
export function hasChain({ tables }: Pick<NodeFacts, 'tables'>, family: Family, name: string): boolean {
  return BACKENDS.some((backend) => tables[backend][family].includes(`\n:${name} `))
}

/** The policy of the chain FORWARD in a backend. */
export function forwardPolicy(
  { tables }: Pick<NodeFacts, 'tables'>,
  backend: Backend,
  family: Family,
): 'ACCEPT' | 'DROP' {
  return tables[backend][family].includes('\n:FORWARD DROP ') ? 'DROP' : 'ACCEPT'
}

/** The interface of a guest's NIC on the node, as Proxmox VE names it; there while the guest runs. */
export function tapName({ type, vmid }: Guest, { index }: Nic): string {
  return `${type === 'qemu' ? 'tap' : 'veth'}${vmid}i${index}`
}

/** The bridge between that and the node's, where pve-firewall has its hooks; there for a NIC with firewall=1. */
export function firewallBridge({ vmid }: Guest, { index }: Nic): string {
  return `fwbr${vmid}i${index}`
}

export function linkOf({ links }: Pick<NodeFacts, 'links'>, name: string): Link | undefined {
  return links.find((link) => link.name === name)
}

/** What the kernel uses for an interface: the larger of `all` and its own (ip-sysctl). */
export function rpFilter({ sysctls }: Pick<NodeFacts, 'sysctls'>, dev: string): number {
  return Math.max(...['all', dev].map((name) => Number(sysctls.get(`net/ipv4/conf/${name}/rp_filter`) ?? 0)))
}

/** The switch of one interface: whether IPv4 packets that come by it are forwarded. IPv6 has one for all (ip-sysctl). */
export function forwardingOf(dev: string): string {
  return `net/ipv4/conf/${dev}/forwarding`
}

/** The switch by which bridged packets of a family meet iptables. */
export function bridgeNetfilter(family: Family): string {
  return `net/bridge/bridge-nf-call-${family === 4 ? 'iptables' : 'ip6tables'}`
}

/** The values that `rpFilter` is made of, as `sysctl` prints them. */
export function rpFilterRead({ sysctls }: Pick<NodeFacts, 'sysctls'>, dev: string): string[] {
  return ['all', dev].map((name) => {
    const value = sysctls.get(`net/ipv4/conf/${name}/rp_filter`)
    return `net.ipv4.conf.${name}.rp_filter = ${value ?? 'missing'}`
  })
}

/** The sysctls that facts hold; `*` stands for every interface. */
export const READ_SYSCTLS: readonly string[] = [
  ...FAMILIES.map((family) => FORWARDING[family]),
  ...FAMILIES.map(bridgeNetfilter),
  'net/netfilter/nf_conntrack_count',
  'net/netfilter/nf_conntrack_max',
  'net/ipv4/conf/*/rp_filter',
  'net/ipv4/conf/*/forwarding',
]
