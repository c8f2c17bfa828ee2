/** The internet: one namespace with a bridge for each segment that nodes are plugged into. */
export interface InetPlan {
  /** Segment name (also its interface in `inet`) → addresses of `inet` on it. */
  segments: Record<string, string[]>
  /** Addresses of further hosts of the internet, all played by `inet`. */
  others: string[]
}

export interface UplinkPlan {
  /** The interface on the node, e.g. `eth0`. */
  name: string
  /** The segment of the internet at its other end. */
  segment: string
  /** The node's bridge that it is a port of. */
  bridge?: string
  /** Addresses of the node on it, when it is in no bridge. */
  addresses?: string[]
}

export interface BridgePlan {
  name: string
  addresses: string[]
}

export interface GuestPlan {
  vmid: number
  /** Default 0. A second NIC of the same guest is a second entry of the list. */
  nic?: number
  kind: 'qemu' | 'lxc'
  /** Plugged through a firewall bridge, as with firewall=1. */
  firewall: boolean
  bridge: string
  mac: string
  address?: string
  gateway?: string
  address6?: string
  gateway6?: string
}

export interface NodePlan {
  /** Name of the namespace. */
  name: string
  hostname: string
  uplinks: UplinkPlan[]
  bridges: BridgePlan[]
  /** What follows `ip route add`, e.g. `default via 203.0.113.1`. */
  routes: string[]
  guests: GuestPlan[]
  /** Does the node forward from the start? */
  ipForward: boolean
  /** Do bridged packets meet iptables? Default yes; without it br_netfilter need not be there. */
  bridgeNf?: boolean
}

/** The internet of the default lab: one segment, two more hosts to ask from and to be asked, and a network full of hosts to ask from. */
export const inetPlan: InetPlan = {
  segments: { eth0: ['203.0.113.1/24', '2001:db8:113::1/64'] },
  others: ['198.51.100.7/32', '192.0.2.9/32', '198.18.0.1/15', '2001:db8:51::7/128', '2001:db8:2::9/128'],
}

/** One host of that network after another, for as long as there are. */
export function inetHost(n: number): string {
  const last = (n + 1) % (1 << 17)
  return `198.${18 + (last >> 16)}.${(last >> 8) & 255}.${last & 255}`
}

const inLan = (last: number) => ({
  bridge: 'vmbr1',
  address: `10.10.10.${last}/24`,
  gateway: '10.10.10.1',
  address6: `fd10::${last}/64`,
  gateway6: 'fd10::1',
})

/** The node that `fixtures/node1` is the /etc/pve of. */
export const node1Plan: NodePlan = {
  name: 'pve',
  hostname: 'pve1',
  uplinks: [{ name: 'eth0', segment: 'eth0', bridge: 'vmbr0' }],
  bridges: [
    { name: 'vmbr0', addresses: ['203.0.113.2/24', '2001:db8:113::2/64'] },
    { name: 'vmbr1', addresses: ['10.10.10.1/24', 'fd10::1/64'] },
  ],
  routes: ['default via 203.0.113.1', 'default via 2001:db8:113::1'],
  guests: [
    { vmid: 107, kind: 'qemu', firewall: true, mac: 'BC:24:11:00:01:07', ...inLan(107) },
    { vmid: 108, kind: 'lxc', firewall: true, mac: 'BC:24:11:00:01:08', ...inLan(108) },
    { vmid: 105, kind: 'lxc', firewall: false, mac: 'BC:24:11:00:01:05', ...inLan(105) },
    {
      vmid: 200,
      kind: 'qemu',
      firewall: false,
      mac: 'BC:24:11:00:02:00',
      bridge: 'vmbr0',
      address: '203.0.113.50/24',
      gateway: '203.0.113.1',
      address6: '2001:db8:113::50/64',
      gateway6: '2001:db8:113::1',
    },
  ],
  ipForward: false,
}

/** That node with a second way to the internet, by which nothing goes by itself: a route there makes it external. */
export const twoUplinks = {
  uplinks: [...node1Plan.uplinks, { name: 'eth1', segment: 'eth1', addresses: ['192.0.2.2/24'] }],
  inet: {
    segments: { ...inetPlan.segments, eth1: ['192.0.2.1/24'] },
    others: ['198.51.100.7/32'],
  },
}
