/** Everything that the translation depends on, as values: one node, looked at once. */
import type { Family } from '../address.ts'
import type { FwFile, FwSet } from '../fw/fw-file.ts'
import type { Sighting } from '../guest/sightings.ts'
import type { Evidence } from '../guest/evidence.ts'
import type { AddressSource, GuestElsewhere, KnownAddresses, OwnedGuest } from '../guest/guest.ts'
import type { Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import type { Block } from './port-blocks.ts'
import type { SetMatches } from './nat-rule.ts'
import type { Socket } from './sockets.ts'
import type { NodePort } from './node-ports.ts'
import type { Right } from './rights.ts'

export interface View {
  /** Short host name. */
  node: string
  cluster: FwFile
  /** Sets of the scope `sdn/`, by name. */
  sdnSets: ReadonlyMap<string, FwSet>
  /**
   * The addresses of each set, read when a rule first names it. Measured with a set of 65,536 networks: without this 1,000 rules take more than
   * three minutes; and if each look began anew, each file that is edited would keep its own copy of 9 MiB.
   */
  setMatches: WeakMap<FwSet, SetMatches>
  host: FwFile
  /** By VMID. */
  guests: OwnedGuest[]
  /** Guests of other nodes. */
  elsewhere: GuestElsewhere[]
  /** What is known of their addresses, by VMID. */
  known: ReadonlyMap<number, KnownAddresses>
  /** Whose addresses are, by all that the cluster shows. */
  evidence: Evidence
  /** Where addresses were seen, for the next look. */
  sightings: readonly Sighting[]
  /** The sources outside config and settings that were there to be asked. */
  consulted: readonly AddressSource[]
  network: Network
  /** There are other nodes: of an address or interface that is not here, one of them may be meant. */
  isClustered: boolean
  settings: Settings
  /** The blocks of external ports, by VMID of every guest of the cluster; empty without the setting guest-block. */
  blocks: ReadonlyMap<number, Block>
  /** Seconds since 1970, for an `enable` that is a time stamp. */
  now: number
  firewall: FirewallMode
  /** Bridged packets can meet iptables. */
  hasBridgeNetfilter: boolean
  kernel: KernelFacts
  /** What services of this node listen on. */
  listeners: readonly Socket[]
  /** What the node itself has, or had a moment ago. */
  nodePorts: readonly NodePort[]
  /** What guests held before this look; those of guests that are another one now are left out. */
  rights: readonly Right[]
  /** The identity of each guest that holds a right, by VMID, as the state remembers it. */
  identities: Readonly<Record<string, string>>
  /** Guests whose files say nothing now: their rights last. */
  unjudged: ReadonlySet<number>
  /** Ids of NAT rules that the kernel refused; they are left out. */
  quarantined: ReadonlyMap<string, string>
  /** Service name → port, of the node's /etc/services. */
  services: ReadonlyMap<string, number>
}

/** Facts of the kernel that decide which chains are desired. */
export interface KernelFacts {
  /**
   * Families in which own chains are installed. Their skeleton (hooks, zone, one conntrack rule) stays although no rule wants it: without it
   * live connections would stall.
   */
  ownChains: readonly Family[]
  /** Families in which the policy of FORWARD is DROP. */
  forwardDrops: readonly Family[]
}

export type FirewallMode = 'iptables' | 'nftables'

/** Paths as diagnostics name them, relative to the pve directory. */
export const CLUSTER_FW = 'firewall/cluster.fw'
export const hostFw = (node: string): string => `nodes/${node}/host.fw`
export const guestFw = (vmid: number): string => `firewall/${vmid}.fw`

/** The guest of a file; 0 for a file of the datacenter or the node. */
export function guestOfFile(file: string): number {
  return Number(/(?:^|\/)firewall\/(\d+)\.fw$/.exec(file)?.[1] ?? 0)
}

/** The file of a path; undefined when this node has none. */
export function fileAt({ cluster, host, node, guests }: View, path: string): FwFile | undefined {
  if (path.endsWith(CLUSTER_FW)) return cluster
  if (path.endsWith(hostFw(node))) return host
  return guests.find(({ guest }) => guest.vmid === guestOfFile(path))?.fw
}
