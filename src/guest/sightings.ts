/**
 * What SDN, dnsmasq and the kernel tell about the addresses behind a MAC: text → sightings. Whatever cannot be
 * understood says nothing; nothing here throws. Whether a sighting is believed is known.ts.
 */
import { addressKey, isLinkLocal6, parseIp, type Range } from '../address.ts'
import { field, members, parseJson, textOf } from '../json.ts'
import { parseMac, type AddressSource } from './guest.ts'

type LearntSource = Exclude<AddressSource, 'settings' | 'config' | 'ipfilter'>

/** The texts of each source as they lie there; none when it is missing. */
export interface LearntTexts extends Readonly<Record<LearntSource, readonly string[]>> {
  /** sdn/.running-config, which names SDN's sets. */
  sdn?: string | undefined
}

/** Somebody says that this address is behind this MAC, or of this guest. At least one of `mac` and `vmid` is there. */
export interface Sighting {
  ip: Range
  from: LearntSource
  /** Upper case, colons. */
  mac?: string
  vmid?: number
  /** The interface where the kernel saw it. */
  dev?: string
}

export interface Learnt {
  sightings: Sighting[]
  /** The sources that were there to be asked. */
  consulted: LearntSource[]
}

export const NOTHING_LEARNT: LearntTexts = { ipam: [], 'mac-cache': [], ethers: [], lease: [], neighbour: [] }

const PARSERS: Readonly<Record<LearntSource, (text: string, now: number) => Sighting[]>> = {
  ipam: parseIpam,
  'mac-cache': parseMacCache,
  ethers: parseEthers,
  lease: parseLeases,
  neighbour: parseNeighbours,
}
const LEARNT_SOURCES = Object.keys(PARSERS) as readonly LearntSource[]

/** `now` in seconds since 1970. */
export function parseLearnt(texts: LearntTexts, now: number): Learnt {
  return {
    sightings: LEARNT_SOURCES.flatMap((from) => texts[from].flatMap((text) => PARSERS[from](text, now))),
    consulted: LEARNT_SOURCES.filter((from) => texts[from].length > 0),
  }
}

/** All that `parseLearnt` depends on. Leases end with time; everything else stays as long as its text does. */
export function learntInputs(texts: LearntTexts, now: number): readonly unknown[] {
  const time = texts.lease.length > 0 ? now : 0
  return [time, ...LEARNT_SOURCES.flatMap((from) => [texts[from].length, ...texts[from]])]
}

/**
 * What was last seen behind a MAC stays so until something else is: an idle guest vanishes from the neighbour table, and a
 * forward must not go with it.
 */
export function keepLast(now: readonly Sighting[], before: readonly Sighting[]): Sighting[] {
  const macs = new Set(now.map(({ mac, ip }) => `${mac} ${ip.family}`))
  const taken = new Set(now.map(({ ip }) => addressKey(ip)))
  const kept = before.filter(
    ({ mac, vmid, ip }) =>
      vmid === undefined && !macs.has(`${mac} ${ip.family}`) && !taken.has(addressKey(ip)),
  )
  return [...now, ...kept]
}

/** sdn/pve-ipam-state.json: zones.ZONE.subnets.CIDR.ips.IP = {vmid, mac, hostname} | {gateway: 1} (pve-network PVEPlugin.pm). */
export function parseIpam(text: string): Sighting[] {
  const zones = members(field(parseJson(text), 'zones'))
  const subnets = zones.flatMap(([, zone]) => members(field(zone, 'subnets')))
  return subnets
    .flatMap(([, subnet]) => members(field(subnet, 'ips')))
    .flatMap(([ip, entry]) => {
      const gateway = field(entry, 'gateway')
      if (gateway !== undefined && gateway !== null && gateway !== 0 && gateway !== '0') return []
      // Perl writes numbers as text at its pleasure.
      const vmid = Number(/^[1-9]\d{2,9}$/.exec(textOf(field(entry, 'vmid')))?.[0])
      const mac = parseMac(textOf(field(entry, 'mac')))
      const about = { ...(mac === undefined ? {} : { mac }), ...(Number.isNaN(vmid) ? {} : { vmid }) }
      return Object.keys(about).length === 0 ? [] : sighting(ip, 'ipam', about)
    })
}

/** sdn/mac-cache.json: macs.MAC = {ip4, ip6}; either may be null (pve-network Ipams.pm). */
export function parseMacCache(text: string): Sighting[] {
  return members(field(parseJson(text), 'macs')).flatMap(([mac, entry]) =>
    [field(entry, 'ip4'), field(entry, 'ip6')].flatMap((ip) => byMac(mac, textOf(ip), 'mac-cache')),
  )
}

/** /etc/dnsmasq.d/ZONE/ethers, SDN's reservations: lines `MAC,IP4`, `MAC,IP4,[IP6]` or `MAC,[IP6]` (pve-network Dnsmasq.pm). */
export function parseEthers(text: string): Sighting[] {
  return text.split('\n').flatMap((line) => {
    const [mac = '', ...ips] = line.trim().split(',')
    return ips.flatMap((ip) => byMac(mac, ip.replace(/^\[(.*)\]$/, '$1'), 'ethers'))
  })
}

/**
 * /var/lib/misc/dnsmasq[.ZONE].leases: lines `EXPIRY MAC IP NAME CLIENT`; expiry 0 is never. DHCPv6 leases carry an IAID where the MAC stands.
 * A machine that asks under several client ids holds several leases: the one that ends last is the one it took last.
 */
export function parseLeases(text: string, now: number): Sighting[] {
  const last = new Map<string, { ends: number; sightings: Sighting[] }>()
  for (const line of text.split('\n')) {
    const [expiry = '', mac = '', ip = ''] = line.trim().split(/ +/)
    if (!/^\d{1,15}$/.test(expiry)) continue
    const ends = Number(expiry) === 0 ? Infinity : Number(expiry)
    const sightings = ends > now ? byMac(mac, ip, 'lease') : []
    const key = sightings[0]?.mac
    if (key === undefined) continue
    const before = last.get(key)
    if (before?.ends === ends) before.sightings.push(...sightings)
    else if (!before || before.ends < ends) last.set(key, { ends, sightings })
  }
  return [...last.values()].flatMap(({ sightings }) => sightings)
}

/** States in which somebody did answer under this MAC. */
const ANSWERED = new Set(['REACHABLE', 'STALE', 'DELAY', 'PROBE', 'PERMANENT'])

/** `ip -j neigh show` */
export function parseNeighbours(text: string): Sighting[] {
  const table = parseJson(text)
  if (!Array.isArray(table)) return []
  return table.flatMap((entry: unknown) => {
    const state = field(entry, 'state')
    const dev = textOf(field(entry, 'dev'))
    const answered = Array.isArray(state) && state.some((one) => ANSWERED.has(textOf(one)))
    if (!answered || dev === '') return []
    const found = byMac(textOf(field(entry, 'lladdr')), textOf(field(entry, 'dst')), 'neighbour')
    return found.map((one) => ({ ...one, dev }))
  })
}

function byMac(text: string, ip: string, from: LearntSource): Sighting[] {
  const mac = parseMac(text)
  return mac === undefined ? [] : sighting(ip, from, { mac })
}

function sighting(text: string, from: LearntSource, about: Pick<Sighting, 'mac' | 'vmid'>): Sighting[] {
  const ip = parseIp(text)
  return ip && !isLinkLocal6(ip) ? [{ ip, from, ...about }] : []
}
