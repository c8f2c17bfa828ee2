/** The node's networks, from what `ip -j` says. */
import { contains, FAMILIES, network, parseCidr, parseIp, type Family, type Range } from './address.ts'
import type { Settings } from './settings.ts'

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
  /** Kinds of the tunnels that somebody made; undefined when they were not asked for. */
  tunnels?: readonly string[]
  /** Next hops of all routes; undefined when they were not asked for. */
  nextHops?: readonly Range[]
  /** All interfaces by each of their names, altnames too; undefined when they were not asked for. */
  links?: ReadonlyMap<string, string>
}

interface OwnAddress {
  dev: string
  ip: Range
}

interface InwardRoute {
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
}

export interface InternalNetwork {
  /** '' of a network that the settings name and in which this node has no address. */
  bridge: string
  network: Range
  /** The node's own address in it, where it has one. */
  address?: Range
}

/** The parts of `ip -j -d addr` that matter. */
export interface IpLink {
  ifname: string
  altnames?: string[]
  link?: string
  linkinfo?: { info_kind?: string }
  addr_info?: IpAddress[]
}

interface IpAddress {
  family: string
  local?: string
  prefixlen?: number
  scope?: string
  temporary?: boolean
  tentative?: boolean
  dadfailed?: boolean
}

/** The parts of `ip -j route` that matter. */
export interface IpRoute {
  dst?: string
  /** `unicast` when undefined. */
  type?: string
  dev?: string
  gateway?: string
  nexthops?: { dev?: string; gateway?: string }[]
  /** `main` when undefined. */
  table?: string
  prefsrc?: string
}

/** The parts of `ip -j rule` that matter. */
interface IpRule {
  table?: string
}

/** What the kernel says of the ways of one family. */
export interface IpRouting {
  rules: readonly IpRule[]
  /** Default routes and halves of all tables. */
  defaults: readonly IpRoute[]
  /** The other routes of the tables main and local. */
  routes: readonly IpRoute[]
  /** The way to a host of the internet; none when there is no way. */
  outside: IpRoute | undefined
}

interface Address {
  ip: Range
  network: Range
}

/**
 * External is what carries a default route, or what the settings name. Internal is every network on another bridge, VNet or
 * VLAN of a bridge. `declared`: the interfaces of /etc/network/interfaces, among them all bridges that Proxmox VE offers to guests.
 */
export function toNetwork(
  links: readonly IpLink[],
  routing: Readonly<Record<Family, IpRouting>>,
  settings: Settings,
  declared: ReadonlySet<string>,
): Network {
  const names = new Map([
    ...links.flatMap(({ ifname, altnames = [] }) => altnames.map((name) => [name, ifname] as const)),
    ...links.map(({ ifname }) => [ifname, ifname] as const),
  ])
  const external = links.flatMap((link): ExternalInterface[] => {
    const families = FAMILIES.filter((family) => isExternal(link.ifname, routing[family], settings, names))
    if (families.length === 0) return []
    const addresses = globalAddresses(link).filter(({ ip }) => !isNamedInternal(ip, settings))
    return [
      {
        name: link.ifname,
        families,
        addresses: addresses.map(({ ip }) => ip),
        networks: addresses.map((one) => one.network),
      },
    ]
  })
  const outside = new Set(external.map(({ name }) => name))
  const bridges = new Set(links.filter(isBridge).map(({ ifname }) => ifname))
  const isForGuests = (name = ''): boolean => /^vmbr\d/.test(name) || declared.has(name)
  const found = links
    .filter((link) => !outside.has(link.ifname) && (isBridge(link) || isVlanOf(bridges, link)))
    .flatMap((link) => {
      const isOpen = isForGuests(link.ifname) || (!isBridge(link) && isForGuests(link.link))
      return globalAddresses(link).map((one) => ({ ...toInternal(link, one), isOpen }))
    })
  const on = (isOpen: boolean): InternalNetwork[] =>
    found.flatMap(({ isOpen: own, ...one }) => (own === isOpen ? [one] : []))
  const everywhere = links.flatMap((link) => globalAddresses(link).map((one) => toInternal(link, one)))
  return {
    external,
    internal: settings.internal === 'auto' ? on(true) : named(settings.internal, everywhere),
    strangers: settings.internal === 'auto' ? on(false) : [],
    own: links.flatMap((link) => globalAddresses(link).map(({ ip }) => ({ dev: link.ifname, ip }))),
    way: Object.fromEntries(
      FAMILIES.flatMap((family) => {
        const { prefsrc = '', dev } = routing[family].outside ?? {}
        const ip = parseIp(prefsrc)
        return ip && dev !== undefined ? [[family, { dev, ip }]] : []
      }),
    ),
    inward: FAMILIES.flatMap((family) => inwardRoutes(routing[family].routes, outside)),
    links: names,
    tunnels: links
      .filter(({ ifname }) => !FALLBACK_TUNNELS.has(ifname))
      .flatMap(({ linkinfo }) => linkinfo?.info_kind ?? []),
    nextHops: FAMILIES.flatMap((family) => routing[family].routes.flatMap(gateways)),
  }
}

function gateways({ gateway, nexthops = [] }: IpRoute): Range[] {
  return [gateway, ...nexthops.map((hop) => hop.gateway)].flatMap((text = '') => parseIp(text) ?? [])
}

/** They appear in every network namespace with the module of their kind. */
const FALLBACK_TUNNELS = new Set(
  'gre0 gretap0 erspan0 ip6gre0 tunl0 ip_vti0 ip6_vti0 sit0 ip6tnl0'.split(' '),
)

function isExternal(
  name: string,
  { rules, defaults }: IpRouting,
  { external }: Settings,
  names: ReadonlyMap<string, string>,
): boolean {
  if (external.names.some((one) => (names.get(one) ?? one) === name)) return true
  const tables = new Set(['main', ...rules.flatMap(({ table }) => table ?? [])])
  return external.auto && defaults.some((route) => leadsBy(route, name) && tables.has(route.table ?? 'main'))
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
      if (!to || to.lo === to.hi || isLocalScope(to) || route.type === 'multicast') return []
      if (route.type !== undefined && route.type !== 'unicast' && route.type !== 'local')
        return [{ to, dev: '' }]
      return outside.has(dev) ? [] : [{ to, dev }]
    })
    .sort((a, b) => Number(width(a.to) - width(b.to)))
}

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
  return internal !== 'auto' && internal.some((range) => contains(range, ip))
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

function toInternal({ ifname }: IpLink, { ip, network: range }: Address): InternalNetwork {
  return { bridge: ifname, network: range, address: ip }
}

/** The networks that the settings name, with the bridge and the node's address where there is one. */
function named(ranges: readonly Range[], found: readonly InternalNetwork[]): InternalNetwork[] {
  return ranges.map((range) => {
    const at = found.find(({ address }) => address && contains(range, address))
    return { bridge: '', ...at, network: range }
  })
}
