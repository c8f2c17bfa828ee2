/**
 * Which addresses count as a guest's, from every source there is, worked out once for the whole node.
 *
 * Settings and config say what somebody wrote down. But whoever may edit one guest's network may write another guest's
 * address: a config counts only for networks on the NIC's own bridge, and of two configs with the same address only that of
 * the guest that has NAT in force with it, else of the lower VMID. All else can be influenced from inside the guest, or by whoever
 * edits its firewall and its MAC. So it counts only in an internal network on the NIC's own bridge and never when a
 * stronger source gives it to another guest; when two guests come to the same address that way, it is neither's.
 * The node's own address is no guest's, whatever a config says.
 */
import { addressKey, contains, FAMILIES, overlap, type Family, type Range } from '../address.ts'
import type { FwFile } from '../fw/model.ts'
import type { Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import { confinedTo, filterHosts } from './ipfilter.ts'
import type { Learnt, Sighting } from './learnt.ts'
import {
  ADDRESS_SOURCES,
  type Guest,
  type Known,
  type KnownAddresses,
  type Nic,
  type OwnedGuest,
  type Refused,
} from './model.ts'

interface Evidence {
  /** Guests that have NAT in force, by inner address: `FAMILY:NUMBER`, see `addressKey`. */
  held?: ReadonlyMap<string, number>
  guests: readonly OwnedGuest[]
  cluster: FwFile
  network: Network
  settings: Settings
  learnt: Learnt
}

/** How much a source may be believed against another one: less is stronger. */
type Rank = 0 | 1 | 2 | 3

interface Claim extends Known {
  rank: Rank
}

interface Told extends Claim {
  /** Why it does not count; undefined when it does. */
  why: string | undefined
}

/** Somebody to whom a source of that rank gives an address. */
interface Owner {
  vmid: number
  rank: Rank
  why: string
  /** The administrator gave it in the settings. */
  isSet?: boolean
}

/** The evidence, ready to be looked things up in. */
interface Ready extends Evidence {
  /** The node's own addresses. */
  nodes: readonly Range[]
  owners: Map<string, Owner[]>
  byMac: Map<string, Sighting[]>
  /** Of those without a MAC. */
  byVmid: Map<number, Sighting[]>
  /** Bridges that NICs are plugged into; other networks may be VLANs of any name. */
  plugged: ReadonlySet<string>
  /** Guests whose config names no address: what they typed into rules is all that is known. */
  unwritten: ReadonlySet<number>
}

/** By VMID; every guest of the node has an entry. */
export function resolveKnown(evidence: Evidence): Map<number, KnownAddresses> {
  const nics = evidence.guests.flatMap(({ guest }) => guest.nics)
  const { internal, external } = evidence.network
  const ready: Ready = {
    ...evidence,
    owners: collectOwners(evidence),
    byMac: new Map(),
    byVmid: new Map(),
    nodes: [...internal.map(({ address }) => address), ...external.flatMap(({ addresses }) => addresses)],
    plugged: new Set(nics.flatMap(({ bridge }) => bridge ?? [])),
    unwritten: new Set(
      evidence.guests.filter(({ guest }) => isUnwritten(guest)).map(({ guest }) => guest.vmid),
    ),
  }
  for (const sighting of evidence.learnt.sightings) {
    if (sighting.mac !== undefined) add(ready.byMac, sighting.mac, sighting)
    else if (sighting.vmid !== undefined) add(ready.byVmid, sighting.vmid, sighting)
  }
  const known = new Map(evidence.guests.map((owned) => [owned.guest.vmid, ofGuest(owned, ready)]))
  refuseShared(known)
  return known
}

function ofGuest(owned: OwnedGuest, ready: Ready): KnownAddresses {
  const { guest } = owned
  const known: KnownAddresses = { seen: [], nics: new Map(), refused: [] }
  const ip = ready.settings.guests.get(guest.vmid)?.address
  if (ip) {
    known.set = { ip, from: 'settings' }
    known.seen.push(ip)
  }
  for (const nic of guest.nics) {
    const told = collectClaims(owned, nic, ready).map((claim): Told => ({
      ...claim,
      why: objection(claim, guest, nic, ready),
    }))
    known.seen.push(
      ...told.flatMap(({ ip, from, why }) => (from !== 'config' || why === undefined ? ip : [])),
    )
    const chosen: Partial<Record<Family, Known>> = {}
    for (const family of FAMILIES) {
      const ofFamily = told.filter(({ ip }) => ip.family === family)
      const one = choose(ofFamily, nic, ready.network, known.refused)
      if (one) chosen[family] = one
    }
    known.nics.set(nic.index, chosen)
  }
  return known
}

/** The one address of the first source that has just one that counts. */
function choose(told: readonly Told[], nic: Nic, network: Network, refused: Refused[]): Known | undefined {
  for (const source of ADDRESS_SOURCES) {
    const believed = new Map<string, Known>()
    for (const { ip, from, why } of told) {
      if (from !== source) continue
      if (why !== undefined) refused.push({ ip, from, why, nic: nic.index })
      else believed.set(addressKey(ip), { ip, from })
    }
    const all = [...believed.values()]
    const own = all.filter(({ ip }) => placeOf(ip, nic, network) === 'own')
    const [only, ...more] = own.length > 0 ? own : all
    if (more.length === 0 && only) return only
    for (const one of all) refused.push({ ...one, nic: nic.index, why: `net${nic.index} has several there` })
  }
  return undefined
}

function objection({ ip, from, rank }: Claim, guest: Guest, nic: Nic, ready: Ready): string | undefined {
  if (ready.nodes.some((address) => overlap(address, ip))) return 'it is an address of this node'
  if (from === 'config') return objectionToConfig(ip, guest, nic, ready)
  if (placeOf(ip, nic, ready.network) === undefined)
    return `it is in no internal network on ${nic.bridge ?? 'its bridge'}`
  return ready.owners.get(addressKey(ip))?.find((owner) => owner.vmid !== guest.vmid && owner.rank < rank)
    ?.why
}

/** A config is what somebody with power over this one guest wrote. */
function objectionToConfig(ip: Range, guest: Guest, nic: Nic, ready: Ready): string | undefined {
  const { internal, external } = ready.network
  const around = internal.filter(({ network }) => contains(network, ip)).map(({ bridge }) => bridge)
  const outside = external
    .filter(({ networks }) => networks.some((network) => contains(network, ip)))
    .map(({ name }) => name)
  const isElsewhere = (name: string): boolean =>
    layerOf(name, nic) === undefined && (ready.plugged.has(name) || outside.includes(name))
  // On another machine than the node itself (a check before a file is copied over) the bridges are not to be seen.
  const isHere = nic.bridge === undefined || ready.network.links?.has(nic.bridge) !== false
  if (isHere && [...around, ...outside].every(isElsewhere))
    return `it is in no network on ${nic.bridge ?? 'its bridge'}`
  const others = (ready.owners.get(addressKey(ip)) ?? []).filter(
    (owner) => owner.vmid !== guest.vmid && owner.rank === 0,
  )
  const given = others.find(({ isSet }) => isSet)
  const holder = ready.held?.get(addressKey(ip))
  if (given || holder === guest.vmid) return given?.why
  const held = others.find(({ vmid }) => vmid === holder)
  if (held) return held.why
  if (holder !== undefined && ready.unwritten.has(holder)) return `guest ${holder} has NAT in force with it`
  return others.find(({ vmid }) => vmid < guest.vmid)?.why
}

function isUnwritten({ nics }: Guest): boolean {
  return nics.every(({ addresses }) => Object.keys(addresses).length === 0)
}

/** Everything that the sources tell of one NIC. */
function collectClaims({ guest, fw }: OwnedGuest, nic: Nic, ready: Ready): Claim[] {
  const claims: Claim[] = []
  for (const family of FAMILIES) {
    const config = nic.addresses[family]?.ip
    if (config) claims.push({ ip: config, from: 'config', rank: 0 })
    const confined = confinedTo(nic.index, family, fw, ready.cluster)
    if (confined) claims.push({ ip: confined, from: 'ipfilter', rank: 2 })
  }
  const seen = [
    ...(nic.mac === undefined ? [] : (ready.byMac.get(nic.mac) ?? [])),
    ...(ready.byVmid.get(guest.vmid) ?? []),
  ]
  for (const { ip, from, vmid, dev } of seen) {
    // A MAC is easily copied, a VMID is not.
    if (vmid !== undefined && vmid !== guest.vmid) continue
    if (dev !== undefined && layerOf(dev, nic) === undefined) continue
    claims.push({ ip, from, rank: vmid === undefined ? 3 : 1 })
  }
  return claims
}

function collectOwners({ guests, cluster, settings, learnt }: Evidence): Map<string, Owner[]> {
  const owners = new Map<string, Owner[]>()
  const own = (ip: Range, vmid: number, rank: Rank, why: string, isSet = false): void =>
    add(owners, addressKey(ip), { vmid, rank, why, isSet })
  for (const [vmid, { address }] of settings.guests)
    if (address) own(address, vmid, 0, `the settings give it to guest ${vmid}`, true)
  for (const { guest, fw } of guests) {
    const { vmid } = guest
    for (const { addresses } of guest.nics)
      for (const { ip } of Object.values(addresses)) own(ip, vmid, 0, `guest ${vmid} has it in its config`)
    for (const ip of filterHosts(fw, cluster)) own(ip, vmid, 2, `guest ${vmid} has it in its ipfilter`)
  }
  for (const { ip, vmid } of learnt.sightings)
    if (vmid !== undefined) own(ip, vmid, 1, `SDN IPAM gives it to guest ${vmid}`)
  return owners
}

/** Takes away what two guests came to; settings and config stay. */
function refuseShared(known: ReadonlyMap<number, KnownAddresses>): void {
  const holders = new Map<string, { vmid: number; nic: number; family: Family; one: Known }[]>()
  for (const [vmid, { nics }] of known)
    for (const [nic, addresses] of nics)
      for (const family of FAMILIES) {
        const one = addresses[family]
        if (one && one.from !== 'config') add(holders, addressKey(one.ip), { vmid, nic, family, one })
      }
  for (const all of holders.values())
    for (const { vmid, nic, family, one } of all) {
      const other = all.find((holder) => holder.vmid !== vmid)
      if (!other) continue
      delete known.get(vmid)?.nics.get(nic)?.[family]
      known.get(vmid)?.refused.push({ ...one, nic, why: `guest ${other.vmid} shows the same address` })
    }
}

/** Whether an address lies in a network that the NIC is in, or that it can reach with VLAN tags of its own. */
function placeOf(ip: Range, nic: Nic, { internal }: Network): 'own' | 'vlan' | undefined {
  const places = internal
    .filter(({ network }) => contains(network, ip))
    .map(({ bridge }) => layerOf(bridge, nic))
  return places.find((place) => place === 'own') ?? places.find((place) => place === 'vlan')
}

/** `vmbr1` for a NIC on it; with tag 5 `vmbr1.5`, `vmbr1v5` or `vlan5`; without, the guest may tag for `vmbr1.5`. */
function layerOf(name: string, { bridge, tag }: Nic): 'own' | 'vlan' | undefined {
  if (bridge === undefined) return undefined
  if (tag !== undefined)
    return [`${bridge}.${tag}`, `${bridge}v${tag}`, `vlan${tag}`].includes(name) ? 'own' : undefined
  if (name === bridge) return 'own'
  return name.startsWith(`${bridge}.`) ? 'vlan' : undefined
}

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}
