/**
 * The addresses that count as a guest's, from all sources, computed once for the whole node.
 *
 * Settings and config are written by people. But the owner of a guest may write the address of another guest into its config. So a config
 * counts only for networks on the NIC's own bridge. If several configs in the cluster name the same address, the guest that holds it has it. If
 * no guest of this node holds it and a guest of another node names it, no guest of this node gets it: that guest may hold it there. Else the
 * lowest VMID gets it. All other sources can be influenced from inside the guest, or by an edit of its
 * firewall or MAC. They count only in an internal network on the NIC's own bridge, and never when a stronger source gives the address to
 * another guest. When two guests get the same address in this way, neither has it.
 * A guest keeps an address that it holds. Objections against sources are in evidence.ts.
 */
import { addressKey, contains, FAMILIES, type Family, type Range } from '../address.ts'
import type { FwFile } from '../fw/fw-file.ts'
import { append } from '../lists.ts'
import { inwardTo, type Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import { hasInConfig, objectionTo, type Evidence } from './evidence.ts'
import { confinedTo, filterHosts } from './ipfilter.ts'
import type { Learnt, Sighting } from './sightings.ts'
import {
  ADDRESS_SOURCES,
  wireName,
  type Guest,
  type Known,
  type KnownAddresses,
  type Nic,
  type OwnedGuest,
  type Refused,
} from './guest.ts'

interface Sources {
  guests: readonly OwnedGuest[]
  cluster: FwFile
  network: Network
  settings: Settings
  learnt: Learnt
  evidence: Evidence
}

/** How much a source may be believed against another one: less is stronger. */
type Rank = 0 | 1 | 2 | 3

interface Claim extends Known {
  rank: Rank
}

interface Told extends Claim {
  /** Why it does not count; undefined when it does. */
  why: string | undefined
  isAstray?: true
}

/** Somebody to whom a source of that rank gives an address. */
interface Owner {
  vmid: number
  rank: Rank
  why: string
}

/** The sources, ready to be looked things up in. */
interface Ready extends Sources {
  owners: Map<string, Owner[]>
  byMac: Map<string, Sighting[]>
  /** Of those without a MAC. */
  byVmid: Map<number, Sighting[]>
  /** Bridges that NICs are plugged into; other networks may be VLANs of any name. */
  plugged: ReadonlySet<string>
}

/** By VMID; every guest of the node has an entry. */
export function resolveKnown(sources: Sources): Map<number, KnownAddresses> {
  const nics = sources.guests.flatMap(({ guest }) => guest.nics)
  const ready: Ready = {
    ...sources,
    owners: collectOwners(sources),
    byMac: new Map(),
    byVmid: new Map(),
    plugged: new Set(nics.flatMap(({ bridge }) => bridge ?? [])),
  }
  for (const sighting of sources.learnt.sightings) {
    if (sighting.mac !== undefined) append(ready.byMac, sighting.mac, sighting)
    else if (sighting.vmid !== undefined) append(ready.byVmid, sighting.vmid, sighting)
  }
  const known = new Map(sources.guests.map((owned) => [owned.guest.vmid, ofGuest(owned, ready)]))
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
    const told = collectClaims(owned, nic, ready).map((claim): Told => {
      const why = claim.from === 'config' ? objectionToPlace(claim.ip, nic, ready) : undefined
      return why === undefined
        ? { ...claim, why: objection(claim, guest, nic, ready) }
        : { ...claim, why, isAstray: true }
    })
    known.seen.push(...told.map(({ ip }) => ip))
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
    for (const { ip, from, why, isAstray } of told) {
      if (from !== source) continue
      if (why !== undefined)
        refused.push({ ip, from, why, nic: nic.index, ...(isAstray ? { isAstray } : {}) })
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
  const objected = objectionTo(ip, guest, ready.evidence)
  if (objected !== undefined || ready.evidence.held.get(addressKey(ip)) === guest.vmid) return objected
  if (from === 'config') return ownersInConfigs(ip, guest, ready)
  if (placeOf(ip, nic, ready.network) === undefined) return `it is in no internal network on ${wireName(nic)}`
  return ready.owners.get(addressKey(ip))?.find((owner) => owner.vmid !== guest.vmid && owner.rank < rank)
    ?.why
}

/** A config is what somebody with power over this one guest wrote. */
function objectionToPlace(ip: Range, nic: Nic, ready: Ready): string | undefined {
  const { internal, external } = ready.network
  const around = internal.filter(({ network }) => contains(network, ip)).map(({ bridge }) => bridge)
  const outside = external
    .filter(({ networks }) => networks.some((network) => contains(network, ip)))
    .map(({ name }) => name)
  const isElsewhere = (name: string): boolean =>
    layerOf(name, nic) === undefined && (ready.plugged.has(name) || outside.includes(name))
  // On another machine than the node itself (a check before a file is copied over) the bridges are not to be seen.
  const isHere = nic.bridge === undefined || ready.network.links.has(nic.bridge)
  // A host route of the node: to a guest whose network has one address, as Hetzner and OVH give them.
  const isRouted = layerOf(inwardTo(ready.network, ip)?.dev ?? '', nic) === 'own'
  return isHere && !isRouted && [...around, ...outside].every(isElsewhere)
    ? `it is in no network on ${wireName(nic)}`
    : undefined
}

/**
 * Another guest with this address in its config, if that keeps the address from this guest. Rights of guests on other nodes are not known here,
 * so each of them does. Two guests of two nodes keep the address from each other until one of them gives it up or the settings decide.
 */
function ownersInConfigs(ip: Range, { vmid }: Guest, { evidence }: Ready): string | undefined {
  if (evidence.given.get(addressKey(ip)) === vmid) return undefined
  const others = (evidence.configs.get(addressKey(ip)) ?? []).filter((one) => one.vmid !== vmid)
  const other = others.find((one) => one.node !== undefined || one.vmid < vmid)
  return other && hasInConfig(other)
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

/** Who else names an address. An entry of an ipfilter set that another guest holds, or that is in no network here, keeps nobody out. */
function collectOwners({ guests, cluster, learnt, evidence }: Sources): Map<string, Owner[]> {
  const owners = new Map<string, Owner[]>()
  const own = (key: string, vmid: number, rank: Rank, why: string): void =>
    append(owners, key, { vmid, rank, why })
  for (const [key, all] of evidence.configs) for (const one of all) own(key, one.vmid, 0, hasInConfig(one))
  for (const { guest, fw } of guests)
    for (const ip of filterHosts(fw, cluster))
      if (objectionTo(ip, guest, evidence) === undefined)
        own(addressKey(ip), guest.vmid, 2, `guest ${guest.vmid} has it in its ipfilter`)
  for (const { ip, vmid } of learnt.sightings)
    if (vmid !== undefined) own(addressKey(ip), vmid, 1, `SDN IPAM gives it to guest ${vmid}`)
  return owners
}

/** Takes away what two guests came to; settings and config stay. */
function refuseShared(known: ReadonlyMap<number, KnownAddresses>): void {
  const holders = new Map<string, { vmid: number; nic: number; family: Family; one: Known }[]>()
  for (const [vmid, { nics }] of known)
    for (const [nic, addresses] of nics)
      for (const family of FAMILIES) {
        const one = addresses[family]
        if (one && one.from !== 'config') append(holders, addressKey(one.ip), { vmid, nic, family, one })
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
