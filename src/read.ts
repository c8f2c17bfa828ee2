/** The first stage of the pipeline: text of one node → the view that the translation works on. */
import { parseProtocols, parseServices } from './fw/etc.ts'
import type { FwFile, ReadContext } from './fw/model.ts'
import { readFw } from './fw/read.ts'
import { parseGuestConfig } from './guest/config.ts'
import { resolveKnown } from './guest/known.ts'
import { keepLast, NOTHING_LEARNT, parseLearnt, type LearntTexts, type Sighting } from './guest/learnt.ts'
import { innerHolders, type Incumbents } from './nat/incumbents.ts'
import type { Socket } from './nat/listeners.ts'
import { sdnSets } from './guest/sdn.ts'
import { CLUSTER_FW, guestFw, hostFw, type FirewallMode, type Network, type View } from './nat/view.ts'
import type { Settings } from './settings.ts'

/** The files of one node as they lie there; .fw files as bytes (latin1). A missing .fw file reads as an empty one, as upstream. */
export interface Tree {
  /** By path below the pve directory. */
  fw: Map<string, string>
  guests: { vmid: number; type: 'qemu' | 'lxc'; config: string }[]
  /** Of every guest in the cluster: the node that has it. */
  owners: Map<number, string>
  /** Files of single guests that could not be read; what they said last stands in their place. */
  stale?: StaleFile[]
  /** Texts of the files of settings, by path: they stand when a file can no longer be read. */
  settings?: ReadonlyMap<string, string>
}

export interface StaleFile {
  /** By path below the pve directory. */
  file: string
  reason: string
}

/** One look at a node, nothing of it understood yet. */
export interface Look {
  node: string
  tree: Tree
  network: Network
  /** What SDN, dnsmasq and the kernel tell about guests; without it only their configs do. */
  learnt?: LearntTexts
  /** What earlier looks saw of the guests' addresses. */
  remembered?: readonly Sighting[]
  settings: Settings
  firewall: FirewallMode
  /** /etc/services and /etc/protocols. */
  services: string
  protocols: string
  now: number
  /** Listening sockets of this node; none when they were not looked at. */
  listeners?: readonly Socket[]
  /** Ids of NAT rules that the kernel refused. */
  quarantined?: ReadonlySet<string>
  /** None when nothing was in force before. */
  incumbents?: Incumbents
}

export function readView(look: Look): View {
  const { node, tree, network, settings, firewall, services, protocols, now } = look
  const sets = sdnSets(look.learnt?.sdn, look.learnt?.ipam)
  const names = { services: parseServices(services), protocols: parseProtocols(protocols) }
  const context: ReadContext = { ...names, sdnSets: new Set(sets.keys()) }
  const cluster = readFw(tree.fw.get(CLUSTER_FW) ?? '', 'cluster', context)
  const read = (file: string, kind: 'host' | 'vm' | 'ct'): FwFile =>
    readFw(tree.fw.get(file) ?? '', kind, { ...context, cluster })
  const guests = tree.guests.map(({ vmid, type, config }) => ({
    guest: parseGuestConfig(config, vmid, type),
    fw: read(guestFw(vmid), type === 'qemu' ? 'vm' : 'ct'),
  }))
  const host = read(hostFw(node), 'host')
  const learnt = parseLearnt(look.learnt ?? NOTHING_LEARNT, now)
  const sightings = keepLast(learnt.sightings, look.remembered ?? [])
  const held = innerHolders(look.incumbents ?? new Set())
  const known = resolveKnown({ held, guests, cluster, network, settings, learnt: { ...learnt, sightings } })
  const { consulted } = learnt
  return {
    sightings,
    sdnSets: sets,
    ...{ node, cluster, host, guests, known, consulted, network, settings, now, firewall },
    listeners: look.listeners ?? [],
    incumbents: look.incumbents ?? new Set(),
    quarantined: look.quarantined ?? new Set(),
    services: context.services,
  }
}
