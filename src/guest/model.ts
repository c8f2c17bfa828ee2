/** Guests as their configs describe them, and what is known of their addresses. */
import type { Family, Range } from '../address.ts'

export interface Nic {
  index: number
  bridge?: string
  /** VLAN on the bridge. */
  tag?: number
  /** Upper case, colons. */
  mac?: string
  /** firewall=1 in the config; what is on the wire may differ until the guest is replugged. */
  firewall: boolean
  /** Addresses that the config names, and the length of the network that they are in. */
  addresses: Partial<Record<Family, { ip: Range; prefix: number }>>
  /** The default gateways that the config names. */
  gateways: Partial<Record<Family, Range>>
}

export interface Guest {
  vmid: number
  name: string
  type: 'qemu' | 'lxc'
  /** By index. */
  nics: Nic[]
}

/** Who told an address, the one that is asked first first. `ethers` are the reservations that SDN makes for dnsmasq. */
export const ADDRESS_SOURCES = [
  'settings',
  'config',
  'ipfilter',
  'ipam',
  'mac-cache',
  'ethers',
  'lease',
  'neighbour',
] as const

export type AddressSource = (typeof ADDRESS_SOURCES)[number]

/** One address that counts as the guest's, and why. */
export interface Known {
  ip: Range
  from: AddressSource
}

/** An address that some source told of a NIC and that does not count. */
export interface Refused extends Known {
  nic: number
  /** A clause: `guest 108 has it in its config`. */
  why: string
}

/** What is known of the addresses of one guest. */
export interface KnownAddresses {
  /** Every address that any source ties to the guest, whether it counts or not. */
  seen: Range[]
  /** From the settings; belongs to no NIC. */
  set?: Known
  /** By index of the NIC, per family the one of the first source that knows any. */
  nics: Map<number, Partial<Record<Family, Known>>>
  refused: Refused[]
}
