/** The settings of pvenat.conf as values. Reading them is node/settings.ts. */
import type { Range } from './address.ts'
import type { PortRange } from './ports.ts'

type Hairpin = 'yes' | 'no' | 'others'

/** What the service says in the firewall log of the GUI. */
type GuiLog = 'yes' | 'errors' | 'no'

export interface Settings {
  /** Interfaces that are external whatever routes say; `auto`: besides those with a default route. */
  external: { auto: boolean; names: readonly string[] }
  /** Networks that are internal; `auto`: besides those on the other bridges and VNets. */
  internal: { auto: boolean; networks: readonly Range[] }
  requireFirewall: boolean
  backend: 'auto' | 'legacy' | 'nft'
  hairpin: Hairpin
  guestPorts: PortRange[]
  guestBlock: GuestBlocks | 'none'
  reserved: ReservedPort[]
  allowReserved: boolean
  cutRemoved: boolean
  intervalSeconds: number
  guiLog: GuiLog
  /** The mark of the first uplink, and the bits of a packet's mark that all of them may use. */
  uplinkMark: { first: number; mask: number }
  /** The routing table of the first uplink. */
  uplinkTable: number
  /** The preference of the first of two routing rules, unless rules of others must not stand before them. */
  uplinkPreference: number
  /** Whether TCP segments are made to fit uplinks that take smaller packets than the guests' networks. */
  clampMss: boolean
  /** Uplinks that guests may choose. */
  guestUplinks: UplinkChoice
  guests: Map<number, GuestSettings>
}

export interface ReservedPort {
  proto: 'tcp' | 'udp'
  ports: PortRange
  /** Who has it, for messages. */
  holder: string
}

/** External ports, divided into blocks of `size` ports each. */
export interface GuestBlocks {
  ports: PortRange
  size: number
}

/** Names of uplinks; `auto`: those that carry an external address that the guest may use. */
export type UplinkChoice = 'auto' | 'none' | 'all' | string[]

/** A `[guest N]` section. */
export interface GuestSettings {
  ports?: PortRange[]
  /** The number of its block of ports, from 0, instead of the one that its VMID gives. */
  block?: number
  addresses?: Range[]
  address?: Range
  /** Uplinks that its rules may choose by via=. */
  uplinks?: UplinkChoice
  /** Whether its rules may use snat=1. */
  snat?: boolean
  /** Whether it may have the node's own address by full=1, but for the node's ports. */
  full?: boolean
}

export const DEFAULT_SETTINGS: Settings = {
  external: { auto: true, names: [] },
  internal: { auto: true, networks: [] },
  requireFirewall: true,
  backend: 'auto',
  hairpin: 'yes',
  guestPorts: [[1, 65535]],
  guestBlock: 'none',
  reserved: [
    reserved([22, 22], 'ssh'),
    reserved([85, 85], 'pvedaemon'),
    reserved([111, 111], 'rpcbind'),
    reserved([3128, 3128], 'spiceproxy'),
    reserved([5404, 5412], 'corosync', 'udp'),
    reserved([5900, 5999], 'VNC console'),
    reserved([8006, 8006], 'pveproxy'),
    reserved([8007, 8007], 'proxmox-backup-proxy'),
    reserved([60000, 60050], 'live migration'),
    reserved([111, 111], 'rpcbind', 'udp'),
  ],
  allowReserved: false,
  cutRemoved: false,
  intervalSeconds: 5,
  guiLog: 'yes',
  uplinkMark: { first: 0x01000000, mask: 0x0f000000 },
  uplinkTable: 7701,
  uplinkPreference: 7700,
  clampMss: true,
  guestUplinks: 'auto',
  guests: new Map(),
}

function reserved(ports: PortRange, holder: string, proto: 'tcp' | 'udp' = 'tcp'): ReservedPort {
  return { proto, ports, holder }
}
