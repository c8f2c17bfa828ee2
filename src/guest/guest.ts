/** Guests as their configs describe them, and what is known of their addresses. */
import type { Family, Range } from '../address.ts'
import type { FwFile } from '../fw/fw-file.ts'

export interface Nic {
  index: number
  bridge?: string
  /** VLAN on the bridge. */
  tag?: number
  /** Upper case, colons. */
  mac?: string
  /** firewall=1 in the config; what is on the wire may differ until the guest is replugged. */
  firewall: boolean
  /** link_down=1: the cable is pulled. */
  isDisconnected?: true
  /** Addresses that the config names, and the length of the network that they are in. */
  addresses: Partial<Record<Family, { ip: Range; prefix: number }>>
  /** The default gateways that the config names. */
  gateways: Partial<Record<Family, Range>>
}

/** `vmbr1`, or `vmbr1 in VLAN 20`. */
export function wireName({ bridge = 'its bridge', tag }: Nic): string {
  return tag === undefined ? bridge : `${bridge} in VLAN ${tag}`
}

/** Upper case, colons; undefined when the text is no MAC. */
export function parseMac(text: string): string | undefined {
  const mac = text.toUpperCase()
  return /^([0-9A-F]{2}:){5}[0-9A-F]{2}$/.test(mac) ? mac : undefined
}

export interface Guest {
  vmid: number
  /** When it was made, as PVE writes it (`meta: ctime=`); containers have no such line. */
  created?: string
  name: string
  type: 'qemu' | 'lxc'
  /** A template, which never runs. */
  isTemplate?: true
  /** By index. */
  nics: Nic[]
}

/** What tells addresses, as messages name it; the one that is asked first first. */
export const SOURCE_NAMES = {
  settings: 'the settings',
  config: 'its config',
  ipfilter: 'its ipset ipfilter',
  ipam: 'SDN IPAM',
  'mac-cache': 'the MAC cache of SDN',
  ethers: 'the DHCP reservations of SDN',
  lease: 'the leases of dnsmasq',
  neighbour: 'the neighbour table',
} as const

export type AddressSource = keyof typeof SOURCE_NAMES
export const ADDRESS_SOURCES = Object.keys(SOURCE_NAMES) as readonly AddressSource[]

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
  /** It is in no network of the NIC's bridge, and no route leads there. */
  isAstray?: true
}

/** What is known of the addresses of one guest. */
export interface KnownAddresses {
  /** Every address that any source tells of the guest, whether it counts or not. */
  seen: Range[]
  /** From the settings; belongs to no NIC. */
  set?: Known
  /** By index of the NIC, per family the one of the first source that knows any. */
  nics: Map<number, Partial<Record<Family, Known>>>
  refused: Refused[]
}

/** A guest whose config lies on this node, and its .fw file. */
export interface OwnedGuest {
  guest: Guest
  fw: FwFile
}

/** A NIC of such a guest. */
export interface Plugged extends OwnedGuest {
  nic: Nic
}

/** A guest of another node of the cluster. */
export interface GuestElsewhere {
  guest: Guest
  node: string
}

/** The NIC by which a guest sends what leaves its networks, and the gateway there: those of `nic`, else of the first that has one. */
export function gatewayOf(
  { nics }: Guest,
  nic: Nic,
  family: Family,
): { nic: Nic; gateway: Range } | undefined {
  for (const one of [nic, ...nics]) {
    const gateway = one.gateways[family]
    if (gateway) return { nic: one, gateway }
  }
  return undefined
}

/** Whether a container certainly has no gateway: all its NICs have addresses that its config names, and none a gateway. */
export function hasNoGateway({ type, nics }: Guest, family: Family): boolean {
  return type === 'lxc' && family === 4 && nics.every((nic) => nic.addresses[4] && !nic.gateways[4])
}

/** `107 (db)`, as messages name a guest. */
export function label(guest: Guest): string {
  return `${guest.vmid} (${guest.name})`
}
