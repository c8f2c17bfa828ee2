/** Everything that the translation depends on, as values: one node, looked at once. */
import type { Family, Range } from '../address.ts'
import type { FwFile, FwSet } from '../fw/model.ts'
import type { AddressSource, Guest, KnownAddresses } from '../guest/model.ts'
import type { Sighting } from '../guest/learnt.ts'
import type { Settings } from '../settings.ts'
import type { Incumbents } from './incumbents.ts'
import type { Socket } from './listeners.ts'

export interface View {
  /** Short host name. */
  node: string
  cluster: FwFile
  /** Sets of the scope `sdn/`, by name. */
  sdnSets: ReadonlyMap<string, FwSet>
  host: FwFile
  /** The guests whose config lies on this node, by VMID. */
  guests: OwnedGuest[]
  /** What is known of their addresses, by VMID. */
  /** Where addresses were seen, for the next look. */
  sightings: readonly Sighting[]
  known: ReadonlyMap<number, KnownAddresses>
  /** The sources outside config and settings that were there to be asked. */
  consulted: readonly AddressSource[]
  network: Network
  settings: Settings
  /** Seconds since 1970, for an `enable` that is a time stamp. */
  now: number
  firewall: FirewallMode
  /** What services of this node listen on. */
  listeners: readonly Socket[]
  incumbents: Incumbents
  /** Ids of NAT rules that the kernel refused; they are left out. */
  quarantined: ReadonlyMap<string, string>
  /** Service name → port, of the node's /etc/services. */
  services: ReadonlyMap<string, number>
}

export interface OwnedGuest {
  guest: Guest
  fw: FwFile
}

export type FirewallMode = 'iptables' | 'nftables'

export interface Network {
  /** Interfaces that carry a default route, or that the settings name. */
  external: ExternalInterface[]
  /** Networks on the other bridges and VNets of this node. */
  internal: InternalNetwork[]
  /** Names of all interfaces; undefined when they were not asked for. */
  links?: ReadonlySet<string>
}

export interface ExternalInterface {
  name: string
  /** Global addresses, in the kernel's order. */
  addresses: Range[]
  /** Families that have a default route here (all of them for an interface that the settings name). */
  families: Family[]
  /** The networks on it. */
  networks: Range[]
}

export interface InternalNetwork {
  bridge: string
  network: Range
  /** The node's own address in it. */
  address: Range
}

/** Paths as diagnostics name them, relative to the pve directory. */
export const CLUSTER_FW = 'firewall/cluster.fw'
export const hostFw = (node: string): string => `nodes/${node}/host.fw`
export const guestFw = (vmid: number): string => `firewall/${vmid}.fw`
