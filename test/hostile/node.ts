/** A node in memory for hostile files, and what of it would go to the kernel. */
import { plainNetwork } from '../network.ts'
import { network, parseIp, type Range } from '../../src/address.ts'
import { NOTHING_LEARNT, type LearntTexts } from '../../src/guest/sightings.ts'
import type { Socket } from '../../src/nat/sockets.ts'
import { listeningPorts } from '../../src/nat/node-ports.ts'
import { NO_RIGHTS } from '../../src/nat/rights.ts'
import { CLUSTER_FW, guestFw, hostFw } from '../../src/nat/view.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import type { Look } from '../../src/read.ts'
import { NOTHING_INSTALLED } from '../../src/ruleset/installed.ts'
import { makePlan } from '../../src/ruleset/plan.ts'
import { locate, renderDiagnostic, plain } from '../../src/show/diagnostics.ts'
import { DEFAULT_SETTINGS, type Settings } from '../../src/settings.ts'
import { fixture } from '../fw/context.ts'

export interface HostileGuest {
  vmid: number
  type: 'qemu' | 'lxc'
  config: string
  /** Bytes (latin1). */
  fw: string
}

export interface HostileTree {
  cluster: string
  host: string
  guests: HostileGuest[]
  learnt?: LearntTexts
  settings?: Settings
  rights?: readonly string[]
}

const NODE = 'pve1'
const SERVICE: Socket = { proto: 'tcp', port: 9100, inode: '1', holder: 'node_exporter' }

export function lookAt({ cluster, host, guests, learnt, settings, rights }: HostileTree): Look {
  const files = [[CLUSTER_FW, cluster] as const, [hostFw(NODE), host] as const]
  return {
    node: NODE,
    now: 1_760_000_000,
    hasProxmoxFirewall: false,
    network: NETWORK,
    tree: {
      fw: new Map([...files, ...guests.map(({ vmid, fw }) => [guestFw(vmid), fw] as const)]),
      guests: guests.map(({ vmid, type, config }) => ({ vmid, type, config })),
      owners: new Map(guests.map(({ vmid }) => [vmid, NODE])),
    },
    learnt: learnt ?? NOTHING_LEARNT,
    settings: settings ?? DEFAULT_SETTINGS,
    services: fixture('services'),
    protocols: fixture('protocols'),
    listeners: settings ? [] : [SERVICE],
    nodePorts: settings ? [] : listeningPorts([SERVICE]),
    ledger: { ...NO_RIGHTS, rights: rights ?? [] },
  }
}

export interface Result {
  outcome: Outcome
  /** All input of the kernel's restore programs. */
  input: string
  /** The file that diagnostics point into, as lines. */
  sources: Map<string, string>
}

/** The whole way from files to the kernel's input. */
export function run(tree: HostileTree): Result {
  const look = lookAt(tree)
  const outcome = compile(look)
  const plan = makePlan(outcome.ruleset, NOTHING_INSTALLED)
  return { outcome, input: plan.sets + plan.tables[4] + plan.tables[6], sources: look.tree.fw }
}

/** What people are shown of it. */
export function shown({ outcome, sources }: Result): string {
  const located = locate(outcome.translation.diagnostics, sources, '/etc/pve')
  return located.map((one) => renderDiagnostic(one, sources, '/etc/pve', plain)).join('')
}

const NETWORK = plainNetwork(
  [
    {
      name: 'vmbr0',
      families: [4, 6],
      addresses: ['203.0.113.2', '203.0.113.7', '2001:db8:113::2'].map(ip),
      networks: [network(4, ip('203.0.113.0').lo, 24), network(6, ip('2001:db8:113::').lo, 64)],
      uplink: { index: 0, ways: {}, mtu: 1492 },
    },
  ],
  [
    { bridge: 'vmbr1', network: network(4, ip('10.10.0.0').lo, 16), address: ip('10.10.0.1') },
    { bridge: 'vmbr1', network: network(6, ip('fd10::').lo, 64), address: ip('fd10::1') },
  ],
)

function ip(text: string): Range {
  const address = parseIp(text)
  if (!address) throw new Error(`not an address: ${text}`)
  return address
}

/** A container with the address 10.10.x.y, made of its number. */
export function plainGuest(vmid: number, fw: string): HostileGuest {
  const address = `10.10.${vmid >> 8}.${vmid & 255}`
  const config = `hostname: guest${vmid}\nnet0: name=eth0,bridge=vmbr1,hwaddr=${macOf(vmid)},ip=${address}/16,gw=10.10.0.1,ip6=fd10::${vmid}/64\n`
  return { vmid, type: 'lxc', config, fw }
}

export function macOf(vmid: number): string {
  const hex = vmid.toString(16).padStart(6, '0').toUpperCase()
  return `BC:24:11:${hex.replace(/(..)(..)(..)/, '$1:$2:$3')}`
}
