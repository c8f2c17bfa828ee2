/** Guests as their configs describe them. */
import type { Family, Range } from '../address.ts'

export interface Nic {
  index: number
  bridge?: string
  /** Upper case, colons. */
  mac?: string
  /** firewall=1 in the config; what is on the wire may differ until the guest is replugged. */
  firewall: boolean
  /** Addresses that the config names, and the length of the network that they are in. */
  addresses: Partial<Record<Family, { ip: Range; prefix: number }>>
}

export interface Guest {
  vmid: number
  name: string
  type: 'qemu' | 'lxc'
  /** By index. */
  nics: Nic[]
}
