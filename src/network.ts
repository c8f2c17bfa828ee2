/** The node's networks, from what `ip -j` says. */
import { contains, FAMILIES, network, parseIp, type Family, type Range } from './address.ts'
import type { Settings } from './settings.ts'

export interface Network {
  /** Interfaces that carry a default route, or that the settings name. */
  external: ExternalInterface[]
  /** Networks on the other bridges and VNets of this node. */
  internal: InternalNetwork[]
  /** Names of all interfaces; undefined when they were not asked for. */
  links?: ReadonlySet<string>
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
  bridge: string
  network: Range
  /** The node's own address in it. */
  address: Range
}

/** The parts of `ip -j -d addr` that matter. */
export interface IpLink {
  ifname: string
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
  deprecated?: boolean
  tentative?: boolean
  dadfailed?: boolean
}

/** The parts of `ip -j route show default` that matter. */
export interface IpRoute {
  dev?: string
  nexthops?: { dev?: string }[]
}

interface Address {
  ip: Range
  network: Range
}

/**
 * External is what carries a default route, or what the settings name. Internal is every network on another bridge, VNet or
 * VLAN of a bridge.
 */
export function toNetwork(
  links: readonly IpLink[],
  routes: Record<Family, readonly IpRoute[]>,
  settings: Settings,
): Network {
  const external = links.flatMap((link): ExternalInterface[] => {
    const families = FAMILIES.filter((family) => isExternal(link.ifname, routes[family], settings))
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
  const names = new Set(external.map(({ name }) => name))
  const bridges = new Set(links.filter(isBridge).map(({ ifname }) => ifname))
  const internal = links
    .filter(
      (link) =>
        settings.internal !== 'auto' ||
        (!names.has(link.ifname) && (isBridge(link) || isVlanOf(bridges, link))),
    )
    .flatMap((link) => globalAddresses(link).map((one) => toInternal(link, one)))
  return {
    external,
    internal: settings.internal === 'auto' ? internal : named(settings.internal, internal),
    links: new Set(links.map(({ ifname }) => ifname)),
  }
}

function isExternal(name: string, routes: readonly IpRoute[], { external }: Settings): boolean {
  if (external !== 'auto') return external.includes(name)
  return routes.some(({ dev, nexthops }) => dev === name || nexthops?.some((hop) => hop.dev === name))
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
  return all.flatMap(({ local = '', prefixlen, scope, temporary, deprecated, tentative, dadfailed }) => {
    const ip = parseIp(local)
    if (!ip || prefixlen === undefined || scope !== 'global') return []
    if (temporary || deprecated || tentative || dadfailed) return []
    return [{ ip, network: network(ip.family, ip.lo, prefixlen) }]
  })
}

function toInternal({ ifname }: IpLink, { ip, network: range }: Address): InternalNetwork {
  return { bridge: ifname, network: range, address: ip }
}

/** The networks that the settings name, with the bridge and the node's address where there is one. */
function named(ranges: readonly Range[], found: readonly InternalNetwork[]): InternalNetwork[] {
  return ranges.map((range) => {
    const at = found.find(
      ({ address }) => address.family === range.family && range.lo <= address.lo && address.lo <= range.hi,
    )
    return { bridge: at?.bridge ?? '', network: range, address: at?.address ?? { ...range, hi: range.lo } }
  })
}
