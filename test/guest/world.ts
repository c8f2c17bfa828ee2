/** A node in memory: guests by their texts, and what the sources tell. */
import { plainNetwork } from '../network.ts'
import { network, parseIp, type Range } from '../../src/address.ts'
import { NOTHING_LEARNT, type LearntTexts } from '../../src/guest/sightings.ts'
import type { InternalNetwork } from '../../src/network.ts'
import type { Look } from '../../src/read.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { fixture } from '../fw/context.ts'
import { NOW } from './fixtures.ts'

export interface World {
  /** Config of VMID; a line that begins with `net` and holds `hwaddr` makes it a container. */
  conf?: Record<number, string>
  /** Configs of guests on node pve2, likewise. */
  elsewhere?: Record<number, string>
  /** Bridges that only guests of this node are on. */
  enclosed?: string[]
  /** The guest's .fw below [OPTIONS]. */
  fw?: Record<number, string>
  /** Lines of cluster.fw below [OPTIONS]. */
  cluster?: string
  /** `address` of [guest N], which then may use snat=1. */
  settings?: Record<number, string>
  ipam?: object
  macs?: object
  ethers?: string
  /** Lines of a lease file without expiry and name. */
  leases?: string[]
  /** `ADDRESS MAC DEV [STATE]` */
  neighbours?: string[]
}

export const MAC = { 107: 'BC:24:11:00:01:07', 108: 'BC:24:11:00:01:08' }

/** A NIC on vmbr1, and nothing else known. */
const PLAIN = {
  107: `name: db\nnet0: virtio=${MAC[107]},bridge=vmbr1`,
  108: `hostname: shop\nnet0: name=eth0,bridge=vmbr1,hwaddr=${MAC[108]},ip=dhcp`,
}

export function lookAt(world: World): Look {
  const confs: Record<number, string> = { ...PLAIN, ...world.conf }
  const fw = new Map([['firewall/cluster.fw', `[OPTIONS]\nenable: 1\n${world.cluster ?? ''}`]])
  for (const [vmid, text] of Object.entries(world.fw ?? {}))
    fw.set(`firewall/${vmid}.fw`, `[OPTIONS]\nenable: 1\n${text}`)
  const guests = Object.entries(confs).map(toGuest)
  const elsewhere = Object.entries(world.elsewhere ?? {}).map((one) => ({ ...toGuest(one), node: 'pve2' }))
  const settings = Object.entries(world.settings ?? {}).map(
    ([vmid, address]) => [Number(vmid), { address: ip(address), snat: true }] as const,
  )
  return {
    node: 'pve1',
    now: NOW,
    hasProxmoxFirewall: false,
    tree: { fw, guests, elsewhere, owners: new Map(guests.map(({ vmid }) => [vmid, 'pve1'])) },
    network: world.enclosed ? { ...NETWORK, enclosed: new Set(world.enclosed) } : NETWORK,
    learnt: learntOf(world),
    settings: { ...DEFAULT_SETTINGS, guests: new Map(settings) },
    services: fixture('services'),
    protocols: fixture('protocols'),
  }
}

function toGuest([vmid, config]: [string, string]): { vmid: number; type: 'lxc' | 'qemu'; config: string } {
  return { vmid: Number(vmid), type: config.includes('hwaddr=') ? 'lxc' : 'qemu', config }
}

function learntOf({ ipam, macs, ethers, leases, neighbours }: World): LearntTexts {
  const table = neighbours?.map((line) => {
    const [dst, lladdr, dev, state = 'REACHABLE'] = line.split(' ')
    return { dst, dev, lladdr: lladdr?.toLowerCase(), state: [state] }
  })
  return {
    ...NOTHING_LEARNT,
    ipam: ipam ? [JSON.stringify({ zones: { z: { subnets: { s: { ips: ipam } } } } })] : [],
    'mac-cache': macs ? [JSON.stringify({ macs })] : [],
    ethers: ethers === undefined ? [] : [ethers],
    lease: leases ? [leases.map((line) => `0 ${line.toLowerCase()} * *\n`).join('')] : [],
    neighbour: table ? [JSON.stringify(table)] : [],
  }
}

const NETWORK = plainNetwork(
  [
    {
      name: 'vmbr0',
      families: [4, 6],
      addresses: [ip('203.0.113.2'), ip('2001:db8::2')],
      networks: [network(4, ip('203.0.113.0').lo, 24)],
    },
  ],
  [
    internal('vmbr1', '10.10.10.1', 24),
    internal('vmbr1', 'fd10::1', 64),
    internal('vmbr1.5', '10.5.0.1', 24),
    internal('vmbr10', '10.110.0.1', 24),
    internal('web0', '10.20.0.1', 24),
    internal('web0', 'fd20::1', 64),
  ],
)

function internal(bridge: string, address: string, length: number): InternalNetwork {
  const { family, lo } = ip(address)
  return { bridge, network: network(family, lo, length), address: ip(address) }
}

function ip(text: string): Range {
  const address = parseIp(text)
  if (!address) throw new Error(`not an address: ${text}`)
  return address
}
