/** The node's networks, from what `ip -j` says. */
import {
  contains,
  FAMILIES,
  formatRange,
  network,
  parseCidr,
  parseIp,
  prefixLength,
  sameRange,
  type Family,
  type Range,
} from './address.ts'
import type { IpLink, IpRoute, IpRouting } from './ip.ts'
import type { Settings } from './settings.ts'
import {
  foreignRouting,
  formerAddresses,
  keptUplinks,
  numbered,
  OWN_PROTOCOL,
  uplinkOf,
  type ForeignRouting,
  type StoredUplink,
  type Uplink,
} from './uplinks.ts'

export interface Network {
  /** Interfaces that carry a default route, or that the settings name. */
  external: ExternalInterface[]
  /** Networks on the other bridges and VNets of this node. */
  internal: InternalNetwork[]
  /** Networks on bridges into which no guest is plugged and Proxmox VE plugs none (docker0, virbr0); they are not internal. */
  strangers: InternalNetwork[]
  /** Every global address of this node, with its interface. */
  own: OwnAddress[]
  /** Per family the interface and the address by which this node itself goes out, as the kernel chooses them. */
  way: Partial<Record<Family, OwnAddress>>
  /** Routes that do not lead outside: networks of other interfaces, tunnels, blackholes; the narrowest first. */
  inward: InwardRoute[]
  /** Where routes of its own lead by external interfaces, the default ones and halves left out. */
  outward: readonly Range[]
  /** Kinds of the tunnels that somebody made. */
  tunnels: readonly string[]
  /** Next hops of all routes. */
  nextHops: readonly Range[]
  /** All interfaces by each of their names, altnames too. */
  links: ReadonlyMap<string, string>
  /** Bridges that no machine but guests of this node is on. */
  enclosed: ReadonlySet<string>
  /** Internal networks whose packets routing rules of others lead away from the guests; the kernel is asked for them (node/network.ts). */
  taken: readonly InwardRoute[]
  /** Policy routing that others made; undefined when it was not asked for. */
  foreign?: Readonly<Record<Family, ForeignRouting>>
}

interface OwnAddress {
  dev: string
  ip: Range
}

export interface InwardRoute {
  to: Range
  /** '' of a route that leads nowhere (blackhole, unreachable, prohibit). */
  dev: string
}

export interface ExternalInterface {
  name: string
  /** Global addresses, in the kernel's order. */
  addresses: Range[]
  /** Families that have a default route here (all of them for an interface that the settings name). */
  families: Family[]
  /** The networks on it. */
  networks: Range[]
  /** How packets leave by it; undefined when that was not asked for. */
  uplink?: Uplink
}

export interface InternalNetwork {
  /** '' of a network that the settings name and in which this node has no address. */
  bridge: string
  network: Range
  /** The node's own address in it, where it has one. */
  address?: Range
  /** In bytes, where it has one. */
  mtu?: number
}

interface Address {
  ip: Range
  network: Range
}

/**
 * External is what carries a default route, or what the settings name. Internal is every network on another bridge, VNet or
 * VLAN of a bridge. `declared`: the interfaces of /etc/network/interfaces, among them all bridges that Proxmox VE offers to guests.
 * `stored`: the uplinks of the look before; `now`: UNIX seconds.
 */
export function toNetwork(
  links: readonly IpLink[],
  routing: Readonly<Record<Family, IpRouting>>,
  settings: Settings,
  declared: ReadonlySet<string>,
  stored: readonly StoredUplink[] = [],
  now = 0,
): Network {
  const names = namesOf(links)
  const isNamed = (name: string): boolean =>
    settings.external.names.some((one) => (names.get(one) ?? one) === name)
  const own = links.flatMap((link) => globalAddresses(link).map(({ ip }) => ({ dev: link.ifname, ip })))
  const ips = own.map(({ ip }) => ip)
  const uplinksBefore = stored.filter(({ name }) => settings.external.auto || isNamed(name))
  const kept = keptUplinks(uplinksBefore, links, routing, isNamed, now)
  const carriers = links.flatMap((link): CarriedUplink[] => {
    const { ifname: name } = link
    const before = kept.find((one) => one.name === name)
    const led = FAMILIES.filter(
      (family) => isNamed(name) || (settings.external.auto && hasDefault(name, routing[family])),
    )
    if (!before && led.length === 0) return []
    const uplink = uplinkOf(link, routing, before, isNamed(name), now)
    const families = FAMILIES.filter((family) => led.includes(family) || (before && uplink.ways[family]))
    const addresses = globalAddresses(link).filter(({ ip }) => !isNamedInternal(ip, settings))
    const networks = addresses.map((one) => one.network)
    const found = { name, families, addresses: addresses.map(({ ip }) => ip), networks, uplink }
    return [withAddressesOf(before, found, ips)]
  })
  const gone = kept
    .filter(({ name }) => !links.some(({ ifname }) => ifname === name))
    .map((before) => {
      const { name, ways } = before
      const families = FAMILIES.filter((family) => ways[family])
      const uplink = uplinkOf(undefined, routing, before, isNamed(name), now)
      return withAddressesOf(before, { name, families, addresses: [], networks: [], uplink }, ips)
    })
  const external = withFormer(numbered([...carriers, ...gone], stored), kept, ips, now)
  const outside = new Set(external.map(({ name }) => name))
  const bridges = new Set(links.filter(isBridge).map(({ ifname }) => ifname))
  const isForGuests = (name = ''): boolean => /^vmbr\d/.test(name) || declared.has(name)
  const found = links
    .filter((link) => !outside.has(link.ifname) && (isBridge(link) || isVlanOf(bridges, link)))
    .flatMap((link) => {
      const isOpen = isForGuests(link.ifname) || (!isBridge(link) && isForGuests(link.link))
      return globalAddresses(link).map((one) => ({ ...toInternal(link, one), isOpen }))
    })
  const everywhere = links.flatMap((link) => globalAddresses(link).map((one) => toInternal(link, one)))
  const added = named(settings.internal.networks, everywhere)
  const isAdded = (range: Range): boolean => added.some(({ network: one }) => contains(one, range))
  const on = (isOpen: boolean): InternalNetwork[] =>
    settings.internal.auto
      ? found.flatMap(({ isOpen: own, ...one }) => (own === isOpen && !isAdded(one.network) ? [one] : []))
      : []
  return {
    external,
    internal: [...on(true), ...added],
    strangers: on(false),
    own,
    way: Object.fromEntries(
      FAMILIES.flatMap((family) => {
        const { prefsrc = '', dev } = routing[family].outside ?? {}
        const ip = parseIp(prefsrc)
        return ip && dev !== undefined ? [[family, { dev, ip }]] : []
      }),
    ),
    inward: FAMILIES.flatMap((family) => inwardRoutes(routing[family].routes, outside)),
    outward: FAMILIES.flatMap((family) => outwardRoutes(routing[family].routes, outside)),
    links: names,
    enclosed: enclosedBridges(links),
    taken: [],
    foreign: { 4: foreignRouting(routing[4], ips), 6: foreignRouting(routing[6], ips) },
    tunnels: links.flatMap(tunnelKind),
    nextHops: FAMILIES.flatMap((family) => routing[family].routes.flatMap(gateways)),
  }
}

/** Bridges of the kernel whose ports are all of guests, as Proxmox VE names them (pve-common, Network.pm). */
function enclosedBridges(links: readonly IpLink[]): Set<string> {
  const open = new Set(links.filter(({ ifname }) => !GUEST_PORT.test(ifname)).map(({ master }) => master))
  const isEnclosed = ({ ifname, linkinfo }: IpLink): boolean =>
    linkinfo?.info_kind === 'bridge' && !open.has(ifname)
  return new Set(links.filter(isEnclosed).map(({ ifname }) => ifname))
}

const GUEST_PORT = /^(tap|veth|fwpr|fwln)\d+[ip]\d+$/

type CarriedUplink = Omit<ExternalInterface, 'uplink'> & { uplink: Omit<Uplink, 'index'> }

/**
 * While no packet can leave by it an uplink has the addresses that it had, but for those that came to another link (`present`: the addresses of
 * all links): PPP may come back by another name.
 */
function withAddressesOf(
  before: StoredUplink | undefined,
  one: CarriedUplink,
  present: readonly Range[],
): CarriedUplink {
  const isDown = Object.values(one.uplink.ways).some(({ down }) => down)
  if (!before || !isDown) return one
  const missing = before.addresses.flatMap((text) => parseIp(text) ?? [])
  const has = (list: readonly Range[], range: Range): boolean => list.some((own) => sameRange(own, range))
  return {
    ...one,
    addresses: [...one.addresses, ...missing.filter((ip) => !has(present, ip))],
    networks: [
      ...one.networks,
      ...before.networks
        .flatMap((text) => parseCidr(text) ?? [])
        .filter((range) => !has(one.networks, range)),
    ],
  }
}

/** Uplinks with the addresses that they have lost. `own`: those of the node. */
function withFormer(
  uplinks: readonly (CarriedUplink & { uplink: Uplink })[],
  before: readonly StoredUplink[],
  own: readonly Range[],
  now: number,
): ExternalInterface[] {
  const present = new Set([...own, ...uplinks.flatMap(({ addresses }) => addresses)].map(formatRange))
  return uplinks.map((one) => {
    const former = formerAddresses(
      before.find(({ name }) => name === one.name),
      present,
      now,
    )
    return former.length === 0 ? one : { ...one, uplink: { ...one.uplink, former } }
  })
}

/** Interfaces by each of their names. */
function namesOf(links: readonly IpLink[]): Map<string, string> {
  return new Map([
    ...links.flatMap(({ ifname, altnames = [] }) => altnames.map((name) => [name, ifname] as const)),
    ...links.map(({ ifname }) => [ifname, ifname] as const),
  ])
}

function gateways({ gateway, nexthops = [] }: IpRoute): Range[] {
  return [gateway, ...nexthops.map((hop) => hop.gateway)].flatMap((text = '') => parseIp(text) ?? [])
}

/** They appear in every network namespace with the module of their kind. */
const FALLBACK_TUNNELS = new Set(
  'gre0 gretap0 erspan0 ip6gre0 tunl0 ip_vti0 ip6_vti0 sit0 ip6tnl0'.split(' '),
)

function tunnelKind({ ifname, linkinfo: { info_kind: kind } = {} }: IpLink): string[] {
  return kind === undefined || FALLBACK_TUNNELS.has(ifname) ? [] : [kind]
}

/** Whether a table that rules lead to has a default route by an interface; our own copies do not count. */
function hasDefault(name: string, { rules, defaults }: IpRouting): boolean {
  const tables = new Set(['main', ...rules.flatMap(({ table }) => table ?? [])])
  return defaults.some(
    (route) => route.protocol !== OWN_PROTOCOL && leadsBy(route, name) && tables.has(route.table ?? 'main'),
  )
}

/** `unreachable`, `blackhole` and `prohibit` lead nowhere, although IPv6 shows `dev lo` there. */
function leadsBy({ type = 'unicast', dev, nexthops = [] }: IpRoute, name: string): boolean {
  return type === 'unicast' && (dev === name || nexthops.some((hop) => hop.dev === name))
}

function inwardRoutes(routes: readonly IpRoute[], outside: ReadonlySet<string>): InwardRoute[] {
  return routes
    .flatMap((route): InwardRoute[] => {
      const to = parseCidr(route.dst ?? '')
      const dev = route.dev ?? route.nexthops?.[0]?.dev ?? ''
      if (!to || isLocalScope(to) || route.type === 'multicast') return []
      // An address of the node itself.
      if (to.lo === to.hi && (route.type === 'local' || dev === 'lo')) return []
      if (route.type !== undefined && route.type !== 'unicast' && route.type !== 'local')
        return [{ to, dev: '' }]
      return outside.has(dev) ? [] : [{ to, dev }]
    })
    .sort((a, b) => Number(width(a.to) - width(b.to)))
}

function outwardRoutes(routes: readonly IpRoute[], outside: ReadonlySet<string>): Range[] {
  return routes.flatMap((route): Range[] => {
    const to = parseCidr(route.dst ?? '')
    const isNarrow = to !== undefined && (prefixLength(to) ?? 0) >= NARROW_BITS
    return isNarrow && [...outside].some((name) => leadsBy(route, name)) ? [to] : []
  })
}

/** A wider route is one to the internet. */
const NARROW_BITS = 8

function width({ lo, hi }: Range): bigint {
  return hi - lo
}

function isLocalScope(range: Range): boolean {
  return LOCAL.some((one) => contains(one, range))
}

const LOCAL = ['127.0.0.0/8', '169.254.77.0/24', 'fe80::/10', 'ff00::/8', 'fd77::/48'].flatMap(
  (text) => parseCidr(text) ?? [],
)

/** The interface by which this node reaches a range, where that is none of the external ones. */
export function inwardTo({ inward }: Pick<Network, 'inward'>, range: Range): InwardRoute | undefined {
  return inward.find(({ to }) => contains(to, range))
}

/** A node with one bridge for everything: its settings tell which networks on it are internal. */
function isNamedInternal(ip: Range, { internal }: Settings): boolean {
  return internal.networks.some((range) => contains(range, ip))
}

/** VNets are bridges, too; the bridges of pve-firewall carry no address and drop out by that. */
function isBridge({ linkinfo }: IpLink): boolean {
  return linkinfo?.info_kind === 'bridge' || linkinfo?.info_kind === 'openvswitch'
}

function isVlanOf(bridges: ReadonlySet<string>, { link, linkinfo }: IpLink): boolean {
  return linkinfo?.info_kind === 'vlan' && link !== undefined && bridges.has(link)
}

function globalAddresses({ addr_info: all = [] }: IpLink): Address[] {
  return all.flatMap(({ local = '', prefixlen, scope, temporary, tentative, dadfailed }) => {
    const ip = parseIp(local)
    if (!ip || prefixlen === undefined || scope !== 'global') return []
    // A deprecated one (keepalived, kube-vip, a second address of ifupdown2) receives as any other.
    if (temporary || tentative || dadfailed) return []
    return [{ ip, network: network(ip.family, ip.lo, prefixlen) }]
  })
}

function toInternal({ ifname, mtu }: IpLink, { ip, network: range }: Address): InternalNetwork {
  return { bridge: ifname, network: range, address: ip, ...(mtu === undefined ? {} : { mtu }) }
}

/** The networks that the settings name, with the bridge and the node's address where there is one. */
function named(ranges: readonly Range[], found: readonly InternalNetwork[]): InternalNetwork[] {
  return ranges.map((range) => {
    const at = found.find(({ address }) => address && contains(range, address))
    return { bridge: '', ...at, network: range }
  })
}
