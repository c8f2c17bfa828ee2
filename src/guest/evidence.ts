/**
 * Whose an address is, by all that the cluster shows: the settings, rights that guests hold, configs of guests on every node, routes,
 * the neighbour table. The first address that a guest names is easily another machine's.
 */
import { addressKey, contains, overlap, parseCidr, type Range } from '../address.ts'
import { append } from '../lists.ts'
import type { Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import type { Sighting } from './sightings.ts'
import type { Guest, GuestElsewhere, OwnedGuest } from './guest.ts'

/** Maps are by `addressKey`. */
export interface Evidence {
  network: Network
  /** The node's own addresses. */
  nodes: readonly Range[]
  /** By the settings: the guest that has the address. */
  given: ReadonlyMap<string, number>
  /** By rights: the guest that has NAT with the address. */
  held: ReadonlyMap<string, number>
  /** By configs: the guests of the cluster that name the address, and can have it. */
  configs: ReadonlyMap<string, readonly { vmid: number; node?: string }[]>
  /** By the neighbour table: the MACs that answer at the address. */
  answers: ReadonlyMap<string, readonly string[]>
  /** Next hops of routes. */
  hops: ReadonlySet<string>
  /** By the MAC: the guests of the cluster that have it; a copied one is no evidence for either. */
  macs: ReadonlyMap<string, readonly number[]>
}

interface Sources {
  guests: readonly OwnedGuest[]
  elsewhere: readonly GuestElsewhere[]
  network: Network
  settings: Settings
  held: ReadonlyMap<string, number>
  sightings: readonly Sighting[]
}

export function collectEvidence(sources: Sources): Evidence {
  const { guests, elsewhere, network, settings, held, sightings } = sources
  const all: { guest: Guest; node?: string }[] = [...guests.map(({ guest }) => ({ guest })), ...elsewhere]
  const configs = new Map<string, { vmid: number; node?: string }[]>()
  const macs = new Map<string, number[]>()
  for (const { guest, node } of all)
    for (const { addresses, mac } of guest.nics) {
      if (mac !== undefined) append(macs, mac, guest.vmid)
      const who = { vmid: guest.vmid, ...(node === undefined ? {} : { node }) }
      for (const { ip } of Object.values(addresses))
        if (node === undefined || !isEnclosed(ip, network)) append(configs, addressKey(ip), who)
    }
  const answers = new Map<string, string[]>()
  for (const { from, ip, mac } of sightings)
    if (from === 'neighbour' && mac !== undefined) append(answers, addressKey(ip), mac)
  return {
    network,
    nodes: [
      ...network.internal.flatMap(({ address }) => address ?? []),
      ...network.external.flatMap(({ addresses }) => addresses),
    ],
    given: new Map(
      [...settings.guests].flatMap(([vmid, { address }]) => (address ? [[addressKey(address), vmid]] : [])),
    ),
    held,
    configs,
    answers,
    hops: new Set(network.nextHops.map(addressKey)),
    macs,
  }
}

/** Whether only guests of this node can have an address: those of other nodes have one of another network with the same numbers. */
function isEnclosed(ip: Range, { internal, external, enclosed }: Network): boolean {
  const around = internal.filter(({ network }) => contains(network, ip))
  const isOutside = external.some(({ networks }) => networks.some((one) => contains(one, ip)))
  return !isOutside && around.length > 0 && around.every(({ bridge }) => enclosed.has(bridge))
}

/** Why an address cannot be the guest's, whatever tells it; undefined when nothing speaks against it. */
export function objectionTo(ip: Range, guest: Guest, evidence: Evidence): string | undefined {
  const key = addressKey(ip)
  const { nodes, network, given, held, hops, answers, macs } = evidence
  if (nodes.some((address) => overlap(address, ip))) return 'it is an address of this node'
  if (isNobodys(ip, network)) return 'it is no address of a single machine'
  const owner = given.get(key)
  if (owner !== undefined) return owner === guest.vmid ? undefined : `the settings give it to guest ${owner}`
  const holder = held.get(key)
  if (holder !== undefined)
    return holder === guest.vmid ? undefined : `guest ${holder} has NAT in force with it`
  const all = answers.get(key) ?? []
  if (all.some((mac) => isOwn(mac, guest, evidence))) return undefined
  if (hops.has(key)) return 'a route of this node leads over it'
  const stranger = all.find((mac) => !macs.has(mac))
  return stranger === undefined ? undefined : `another machine answers at it (${stranger})`
}

/** As `objectionTo`, of an address that only a rule names: any other trace of it speaks against it. */
export function objectionToTyped(ip: Range, guest: Guest, evidence: Evidence): string | undefined {
  const objection = objectionTo(ip, guest, evidence)
  const key = addressKey(ip)
  if (objection !== undefined || evidence.held.get(key) === guest.vmid) return objection
  const other = evidence.configs.get(key)?.find(({ vmid }) => vmid !== guest.vmid)
  if (other) return hasInConfig(other)
  const mac = evidence.answers.get(key)?.find((one) => !isOwn(one, guest, evidence))
  return mac === undefined ? undefined : `another guest answers at it (${mac})`
}

function isOwn(mac: string, { vmid }: Guest, { macs }: Evidence): boolean {
  return macs.get(mac)?.every((one) => one === vmid) === true
}

export function hasInConfig({ vmid, node }: { vmid: number; node?: string }): string {
  return `guest ${vmid}${node === undefined ? '' : ` on node ${node}`} has it in its config`
}

const SPECIAL = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/127',
  'fe80::/10',
  'ff00::/8',
].flatMap((text) => parseCidr(text) ?? [])

/** Loopback, link-local, multicast, and the first and last address of an IPv4 network. */
function isNobodys(ip: Range, { internal, external }: Network): boolean {
  if (SPECIAL.some((range) => contains(range, ip))) return true
  const networks = [...internal.map(({ network }) => network), ...external.flatMap((one) => one.networks)]
  return networks.some(
    ({ family, lo, hi }) => family === 4 && ip.family === 4 && hi - lo > 1n && (ip.lo === lo || ip.lo === hi),
  )
}
