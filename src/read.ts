/** The first stage of the pipeline: text of one node → the view that the translation works on. */
import type { Family } from './address.ts'
import { NO_NFTABLES, type Nftables } from './facts/nftables.ts'
import { parseProtocols, parseServices } from './fw/etc.ts'
import type { FwFile, FwSet, ReadContext } from './fw/fw-file.ts'
import { lines } from './fw/line.ts'
import { parseOption } from './fw/options.ts'
import { readFw } from './fw/read.ts'
import { parseGuestConfig } from './guest/config.ts'
import { collectEvidence } from './guest/evidence.ts'
import { resolveKnown } from './guest/known.ts'
import {
  keepLast,
  learntInputs,
  NOTHING_LEARNT,
  parseLearnt,
  type LearntTexts,
  type Sighting,
} from './guest/sightings.ts'
import type { OwnedGuest } from './guest/guest.ts'
import { makeFileCache, type FileCache } from './file-cache.ts'
import type { Socket } from './nat/sockets.ts'
import type { NodePort } from './nat/node-ports.ts'
import { blocksOf } from './nat/port-blocks.ts'
import {
  identityOf,
  innerHolders,
  isSameGuest,
  NO_RIGHTS,
  parseRights,
  type Ledger,
  type Right,
} from './nat/rights.ts'
import type { Guest } from './guest/guest.ts'
import { sdnSets } from './guest/sdn.ts'
import { CLUSTER_FW, guestFw, hostFw, type KernelFacts, type View } from './nat/view.ts'
import type { InternalNetwork, Network } from './network.ts'
import type { Settings } from './settings.ts'

/** The files of one node as they lie there; .fw files as bytes (latin1). A missing .fw file reads as an empty one, as upstream. */
export interface Tree {
  /** By path below the pve directory. */
  fw: Map<string, string>
  guests: { vmid: number; type: 'qemu' | 'lxc'; config: string }[]
  /** Of every guest in the cluster: the node that has it. */
  owners: Map<number, string>
  /** There are other nodes in this cluster; assumed when not told. */
  isClustered?: boolean
  /** Guests of other nodes, as far as their configs could be read. */
  elsewhere?: ElsewhereFile[]
  /** Files of single guests that could not be read; what they said last stands in their place. */
  stale?: StaleFile[]
  /** Texts of the files of settings, by path: they stand when a file can no longer be read. */
  settings?: ReadonlyMap<string, string>
}

interface ElsewhereFile {
  vmid: number
  type: 'qemu' | 'lxc'
  node: string
  config: string
}

export interface StaleFile {
  /** By path below the pve directory. */
  file: string
  reason: string
}

/** One look at a node, not parsed yet. */
export interface Look {
  node: string
  tree: Tree
  network: Network
  /** What SDN, dnsmasq and the kernel tell about guests; without it only their configs do. */
  learnt?: LearntTexts
  /** What earlier looks saw of the guests' addresses. */
  remembered?: readonly Sighting[]
  settings: Settings
  /** Whether proxmox-firewall is installed, which does pve-firewall's work where host.fw asks for nftables. */
  hasProxmoxFirewall: boolean
  /** Bridged packets can meet iptables: br_netfilter is loaded, or counts as loaded when not told. */
  hasBridgeNetfilter?: boolean
  /** /etc/services and /etc/protocols. */
  services: string
  protocols: string
  now: number
  /** Listening sockets of this node; none when they were not looked at. */
  listeners?: readonly Socket[]
  /** Ids of NAT rules that the kernel refused, each with its answer. */
  quarantined?: ReadonlyMap<string, string>
  /** What the node itself has; nothing when it was not looked at. */
  nodePorts?: readonly NodePort[]
  /** Filters of others that forwarded packets meet; none when they were not looked at. */
  filters?: Readonly<Record<Family, Nftables>>
  /** What guests hold; nothing when nothing was in force before. */
  ledger?: Ledger | undefined
  /** Of a kernel that holds nothing of ours when it was not read. */
  kernel?: KernelFacts
}

/** A look that lacks nothing. */
export type WholeLook = Required<Look> & { ledger: Ledger }

const DEFAULTS = {
  hasBridgeNetfilter: true,
  learnt: NOTHING_LEARNT,
  remembered: [],
  listeners: [],
  quarantined: new Map<string, string>(),
  nodePorts: [],
  filters: { 4: NO_NFTABLES, 6: NO_NFTABLES },
  kernel: { ownChains: [], forwardDrops: [] },
}

export function completed(look: Look): WholeLook {
  return { ...DEFAULTS, ...look, ledger: look.ledger ?? NO_RIGHTS }
}

/** Whether a lease, or the option that switches the firewall on until a time, makes the outcome depend on the time. */
export function readsClock({ tree: { fw }, learnt }: Pick<WholeLook, 'tree' | 'learnt'>): boolean {
  if (learnt.lease.length > 0) return true
  for (const { text, from, to } of lines(fw.get(CLUSTER_FW) ?? '')) {
    const option = parseOption(text.slice(from, to), 'cluster')
    if (option?.key === 'enable' && Number(option.value) > 1) return true
  }
  return false
}

/** `cache`: the results of earlier looks. */
export function readView(look: Look, cache: FileCache = makeFileCache()): View {
  const { node, settings, now, learnt: texts, ...others } = completed(look)
  const { hasProxmoxFirewall, remembered, ledger, ...passed } = others
  const { hasBridgeNetfilter, listeners, nodePorts, quarantined, kernel } = passed
  const [ipam] = texts.ipam
  const sets = cache.keep(
    'sdn sets',
    cache.make('sdn', [texts.sdn, ipam], () => sdnSets(texts.sdn, ipam)),
  )
  const files = readFiles(look, sets, cache)
  const learnt = cache.make('learnt', learntInputs(texts, now), () => parseLearnt(texts, now))
  const sightings = cache.keep('sightings', keepLast(learnt.sightings, remembered))
  const { cluster, host, guests, elsewhere } = files
  const network = cache.keep('plugged', withPlugged(others.network, guests))
  const rights = cache.make('rights', [ledger, ...guests.map(({ guest }) => guest), ...elsewhere], () =>
    inheritedRights(ledger, [...guests, ...elsewhere]),
  )
  const held = cache.keep('held', innerHolders(rights))
  const evidence = cache.make(
    'evidence',
    [held, network, settings, sightings, ...guests.map(({ guest }) => guest), ...elsewhere],
    () => collectEvidence({ guests, elsewhere, network, settings, held, sightings }),
  )
  // Of a guest's .fw only its ipfilter sets tell addresses.
  const telling = guests.flatMap(({ guest, fw }) => [guest, hasFilters(fw) ? fw : undefined])
  const known = cache.make('known', [evidence, cluster.aliases, sightings, ...telling], () =>
    resolveKnown({ evidence, guests, cluster, network, settings, learnt: { ...learnt, sightings } }),
  )
  // Without a cluster.fw pve-firewall does not ask (Firewall.pm).
  const isNftables =
    hasProxmoxFirewall && host.options.nftables === 1 && (look.tree.fw.get(CLUSTER_FW) ?? '') !== ''
  return {
    sightings,
    sdnSets: sets,
    // Aliases stand in sets.
    setMatches: cache.make('set matches', [cluster.aliases], () => new WeakMap()),
    node,
    ...files,
    known,
    evidence,
    network,
    isClustered: look.tree.isClustered ?? true,
    settings,
    blocks: cache.keep('blocks', blocksOf(look.tree.owners.keys(), settings, rights)),
    now,
    firewall: isNftables ? 'nftables' : 'iptables',
    nodePorts,
    hasBridgeNetfilter,
    kernel,
    rights,
    identities: ledger.guests,
    unjudged: ledger.unjudged,
    consulted: cache.keep('consulted', learnt.consulted),
    listeners,
    quarantined,
  }
}

/** A bridge that the config of a guest names counts as internal, even if another program made it. */
function withPlugged(network: Network, guests: readonly OwnedGuest[]): Network {
  const bridges = new Set(guests.flatMap(({ guest }) => guest.nics.map(({ bridge }) => bridge)))
  const isPlugged = ({ bridge }: InternalNetwork): boolean => bridges.has(bridge)
  if (!network.strangers.some(isPlugged)) return network
  return {
    ...network,
    internal: [...network.internal, ...network.strangers.filter(isPlugged)],
    strangers: network.strangers.filter((one) => !isPlugged(one)),
  }
}

/** The files as pve-firewall reads them. A guest's depends on the aliases and sets of cluster.fw, and on nothing else of it. */
function readFiles(
  { node, tree, services, protocols }: Look,
  sets: ReadonlyMap<string, FwSet>,
  cache: FileCache,
): Pick<View, 'cluster' | 'host' | 'guests' | 'elsewhere' | 'services'> {
  const text = (file: string): string => tree.fw.get(file) ?? ''
  const context: ReadContext = {
    services: cache.make('services', [services], () => parseServices(services)),
    protocols: cache.make('protocols', [protocols], () => parseProtocols(protocols)),
    sdnSets: cache.make('sdn names', [sets], () => new Set(sets.keys())),
  }
  const base = [context.services, context.protocols, context.sdnSets]
  const file = cache.make(CLUSTER_FW, [text(CLUSTER_FW), ...base], () =>
    readFw(text(CLUSTER_FW), 'cluster', context),
  )
  const aliases = cache.keep('aliases', file.aliases)
  const ipset = cache.keep('ipsets', file.ipset)
  const cluster = { ...file, aliases, ipset, groups: cache.keep('groups', file.groups) }
  const read = (path: string, kind: 'host' | 'vm' | 'ct'): FwFile =>
    cache.make(path, [text(path), kind, cluster.aliases, cluster.ipset, ...base], () =>
      readFw(text(path), kind, { ...context, cluster }),
    )
  const guests = tree.guests.map(({ vmid, type, config }) => ({
    guest: cache.make(`guest ${vmid}`, [config, type], () => parseGuestConfig(config, vmid, type)),
    fw: read(guestFw(vmid), type === 'qemu' ? 'vm' : 'ct'),
  }))
  const elsewhere = (tree.elsewhere ?? []).map(({ vmid, type, config, node: other }) =>
    cache.make(`guest ${vmid}`, [config, type, other], () => ({
      guest: parseGuestConfig(config, vmid, type),
      node: other,
    })),
  )
  return { cluster, host: read(hostFw(node), 'host'), guests, elsewhere, services: context.services }
}

/** The rights of guests that are still the ones that were granted them. */
function inheritedRights({ rights, guests }: Ledger, there: readonly { guest: Guest }[]): Right[] {
  const others = new Set(
    there.flatMap(({ guest }) => {
      const before = guests[guest.vmid]
      return before === undefined || isSameGuest(before, identityOf(guest)) ? [] : guest.vmid
    }),
  )
  return parseRights(rights).filter(({ vmid }) => !others.has(vmid))
}

function hasFilters({ ipset }: FwFile): boolean {
  return [...ipset.keys()].some((name) => name.startsWith('ipfilter-'))
}
