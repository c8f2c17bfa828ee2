/** Everything that the translation depends on, as values: one node, looked at once. */
import type { FwFile, FwSet } from '../fw/model.ts'
import type { Sighting } from '../guest/learnt.ts'
import type { AddressSource, KnownAddresses, OwnedGuest } from '../guest/model.ts'
import type { Network } from '../network.ts'
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
  /** By VMID. */
  guests: OwnedGuest[]
  /** What is known of their addresses, by VMID. */
  known: ReadonlyMap<number, KnownAddresses>
  /** Where addresses were seen, for the next look. */
  sightings: readonly Sighting[]
  /** The sources outside config and settings that were there to be asked. */
  consulted: readonly AddressSource[]
  network: Network
  /** There are other nodes: of an address or interface that is not here, one of them may be meant. */
  isClustered: boolean
  settings: Settings
  /** Seconds since 1970, for an `enable` that is a time stamp; 0 where nothing depends on the time. */
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

export type FirewallMode = 'iptables' | 'nftables'

/** Paths as diagnostics name them, relative to the pve directory. */
export const CLUSTER_FW = 'firewall/cluster.fw'
export const hostFw = (node: string): string => `nodes/${node}/host.fw`
export const guestFw = (vmid: number): string => `firewall/${vmid}.fw`
