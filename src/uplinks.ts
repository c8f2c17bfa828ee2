/**
 * Uplinks: the gateway of each external interface, also while its link is down or its default route is gone, and the policy
 * routing of others.
 *
 * A link that goes down loses its routes, and the kernel does not put them back when it comes up. So the gateways of several
 * uplinks are remembered (node/state.ts). A default route that is deleted while the link is up is given up by the administrator: then
 * our own copy of it is still there.
 */
import { FAMILIES, formatRange, parseIp, type Family, type Range } from './address.ts'
import type { IpLink, IpRoute, IpRouting, IpRule } from './ip.ts'

/** The routing protocol (rt_protos) of each own rule and route; nobody known uses it. */
export const OWN_PROTOCOL = '118'

/** How packets of one family leave by an uplink. */
export interface Way {
  /** An address, or `inet6 ADDRESS` of another family; undefined on a link without neighbours (a tunnel). */
  gateway?: string
  onlink?: true
  /** Of the default route, in bytes. */
  mtu?: number
  /** Remembered: the default route went with the link and did not come back. */
  kept?: true
  /** No packet can leave now. */
  down?: true
  /** The default route is missing while our copy of it is there. Links and routes are not read at one moment, so the next look decides. */
  isMissing?: true
}

export type Ways = Partial<Record<Family, Way>>

export interface Uplink {
  /** Its number among the uplinks, from 0, as long as it is known: mark and table follow from it. */
  index: number
  ways: Ways
  /** Of the link, in bytes. */
  mtu?: number
  /** Without a carrier: nobody at the other end. */
  isDead?: true
  /** Since when (UNIX seconds) the link is missing or has lost its addresses. */
  goneAt?: number
  /** Addresses that it had; undefined when there are none. */
  former?: readonly FormerAddress[]
}

/** An address that a node has lost: what guests still send from it belongs to the same uplink. */
interface FormerAddress {
  address: string
  /** UNIX seconds. */
  goneAt: number
}

/** An uplink as the state keeps it. */
export interface StoredUplink {
  name: string
  index: number
  /** Without their prefix lengths. */
  addresses: string[]
  networks: string[]
  ways: Ways
  goneAt?: number
  former?: readonly FormerAddress[]
}

/** A link that is missing, or that lost its addresses, is waited for that long. */
const KEEP_SECONDS = 600

/** TCP gives up within that time what nobody acknowledges (tcp_retries2). */
const FORMER_SECONDS = 1800

/** The addresses that an uplink of before has lost. `present`: all that the node has, and those that are waited for. */
export function formerAddresses(
  before: StoredUplink | undefined,
  present: ReadonlySet<string>,
  now: number,
): FormerAddress[] {
  const had = before?.addresses.map((address) => ({ address, goneAt: now })) ?? []
  return [...(before?.former ?? []), ...had].filter(
    ({ address, goneAt }) => now - goneAt < FORMER_SECONDS && !present.has(address),
  )
}

/** An external interface as an uplink. `isNamed`: by the settings, so that a tunnel needs no default route. */
export function uplinkOf(
  link: IpLink | undefined,
  routing: Readonly<Record<Family, IpRouting>>,
  before: StoredUplink | undefined,
  isNamed: boolean,
  now: number,
): Omit<Uplink, 'index'> {
  const ways: Ways = {}
  for (const family of FAMILIES) {
    const way = wayOf(link, family, routing[family], before, isNamed)
    if (way) ways[family] = way
  }
  const isThere = before?.addresses.some((ip) => link?.addr_info?.some(({ local }) => local === ip)) ?? true
  const isWaitedFor = before !== undefined && !isThere && Object.values(ways).every(({ down }) => down)
  return {
    ways,
    ...(link?.mtu === undefined ? {} : { mtu: link.mtu }),
    ...(link?.flags?.includes('NO-CARRIER') ? { isDead: true as const } : {}),
    ...(isWaitedFor ? { goneAt: before.goneAt ?? now } : {}),
  }
}

/** The uplinks of before without those that are given up. */
export function keptUplinks(
  stored: readonly StoredUplink[],
  links: readonly IpLink[],
  routing: Readonly<Record<Family, IpRouting>>,
  isNamed: (name: string) => boolean,
  now: number,
): StoredUplink[] {
  return stored.filter((one) => {
    const link = links.find(({ ifname }) => ifname === one.name)
    const { ways, goneAt = now } = uplinkOf(link, routing, one, isNamed(one.name), now)
    return Object.keys(ways).length > 0 && now - goneAt < KEEP_SECONDS
  })
}

/** Each uplink with its number: as before, else the least that is free. */
export function numbered<T extends { name: string; uplink: Omit<Uplink, 'index'> }>(
  external: readonly T[],
  stored: readonly StoredUplink[],
): (T & { uplink: Uplink })[] {
  const before = new Map(stored.map(({ name, index }) => [name, index]))
  const taken = new Set(external.flatMap(({ name }) => before.get(name) ?? []))
  return external.map((one) => {
    let index = before.get(one.name) ?? 0
    while (!before.has(one.name) && taken.has(index)) index++
    taken.add(index)
    return { ...one, uplink: { index, ...one.uplink } }
  })
}

/** Whether the next look decides about an uplink. */
export function hasMissingRoute({ external }: { external: readonly { uplink?: Uplink }[] }): boolean {
  return external.some(({ uplink }) => Object.values(uplink?.ways ?? {}).some(({ isMissing }) => isMissing))
}

/**
 * Of several uplinks, the facts that the next look needs. The only uplink of a family has no copy of its route, so nobody could tell a route
 * that went with its link from one that was given up.
 */
export function storedUplinks(
  external: readonly { name: string; addresses: Range[]; networks: Range[]; uplink?: Uplink }[],
): StoredUplink[] {
  if (external.length < 2) return []
  const several = FAMILIES.filter(
    (family) => external.filter(({ uplink }) => uplink?.ways[family]).length > 1,
  )
  return external.flatMap(({ name, addresses, networks, uplink }) => {
    if (!uplink) return []
    const { index, goneAt, former } = uplink
    const ways: Ways = Object.fromEntries(
      several.flatMap((family) => {
        const way = uplink.ways[family]
        return way ? [[family, way]] : []
      }),
    )
    const known = { name, index, addresses: addresses.map(formatRange), networks: networks.map(formatRange) }
    return [{ ...known, ways, ...(goneAt === undefined ? {} : { goneAt }), ...(former ? { former } : {}) }]
  })
}

function wayOf(
  link: IpLink | undefined,
  family: Family,
  { defaults }: IpRouting,
  before: StoredUplink | undefined,
  isNamed: boolean,
): Way | undefined {
  const name = link?.ifname ?? before?.name ?? ''
  const told = defaults
    .filter((route) => route.protocol !== OWN_PROTOCOL)
    .flatMap((route) => wayBy(route, name))
    .sort((a, b) => a.rank - b.rank)[0]?.way
  if (told) return told
  const isUp = link?.flags?.includes('UP') ?? false
  const last = before?.ways[family]
  const isTunnel = isNamed && isPointToPoint(link)
  if (!last) return isUp && isTunnel ? {} : undefined
  const { down, isMissing, ...way } = last
  if (!isUp || !hasAddress(link, family)) return { ...way, down: true }
  const hasCopy = defaults.some(({ protocol, dev }) => protocol === OWN_PROTOCOL && dev === name)
  if (isTunnel && way.gateway === undefined) return {}
  if (!hasCopy || down || way.kept) return { ...way, kept: true }
  return isMissing ? undefined : { ...way, isMissing: true }
}

/** A default route before halves, the table main before others, then the least metric. */
function wayBy(route: IpRoute, name: string): { rank: number; way: Way }[] {
  const { dev, gateway, via, nexthops = [], metric = 0, flags = [], metrics = [] } = route
  if ((route.type ?? 'unicast') !== 'unicast') return []
  const hops = [{ dev, gateway: gateway ?? (via && `${via.family} ${via.host}`) }, ...nexthops]
  const rank = (route.dst === 'default' ? 0 : 2 ** 34) + (route.table === undefined ? 0 : 2 ** 33) + metric
  const mtu = metrics.find((one) => one.mtu !== undefined)?.mtu
  return hops
    .filter((hop) => hop.dev === name)
    .map((hop) => ({
      rank,
      way: {
        ...(hop.gateway !== undefined && isGateway(hop.gateway) ? { gateway: hop.gateway } : {}),
        ...(flags.includes('onlink') ? { onlink: true as const } : {}),
        ...(mtu === undefined ? {} : { mtu }),
      },
    }))
}

/** Whether a text is the gateway of a `Way`. */
export function isGateway(text: string): boolean {
  return parseIp(text.replace(/^inet6 /, '')) !== undefined
}

function isPointToPoint({ flags = [] }: Pick<IpLink, 'flags'> = {}): boolean {
  return flags.includes('POINTOPOINT') || flags.includes('NOARP')
}

function hasAddress({ addr_info: all = [] }: Pick<IpLink, 'addr_info'> = {}, family: Family): boolean {
  return all.some(({ local = '', scope }) => scope === 'global' && parseIp(local)?.family === family)
}

/** A rule of policy routing that somebody else made. */
interface ForeignRule {
  priority: number
  mark?: { mark: number; mask: number }
  /** Would take answers that are marked if it stood before our rules. */
  takesAnswers: boolean
  /** It asks for a protocol or ports. */
  asksPorts?: true
}

/** Policy routing of one family that others made. */
export interface ForeignRouting {
  rules: readonly ForeignRule[]
  /** Tables in which others have a default route, or to which their rules lead. */
  tables: readonly string[]
}

/** What others made, without the three rules of every kernel. `own`: addresses of this node, which no forwarded answer has as its source. */
export function foreignRouting({ rules, defaults }: IpRouting, own: readonly Range[]): ForeignRouting {
  const addresses = new Set(own.map(formatRange))
  const theirs = rules.filter(
    ({ protocol, priority = 0 }) => protocol !== OWN_PROTOCOL && priority > 0 && priority < MAIN_PRIORITY,
  )
  const found = theirs.map((rule): ForeignRule => {
    const { priority = 0, fwmark, fwmask } = rule
    const mark = fwmark === undefined ? undefined : { mark: Number(fwmark), mask: Number(fwmask ?? ALL_BITS) }
    const isForAnswers = rule.dst === undefined && (mark === undefined || rule.not === null)
    const isFromNode = rule.srclen === undefined && addresses.has(rule.src ?? '')
    const isOfNode = isFromNode || rule.iif === 'lo'
    return {
      priority,
      ...(mark ? { mark } : {}),
      takesAnswers: isForAnswers && !isOfNode && leadsOut(rule, defaults),
      ...(PORT_SELECTORS.some((key) => rule[key] !== undefined) ? { asksPorts: true } : {}),
    }
  })
  const tables = [
    ...theirs.flatMap(({ table }) => table ?? []),
    ...defaults.filter(({ protocol }) => protocol !== OWN_PROTOCOL).flatMap(({ table }) => table ?? []),
  ]
  return { rules: found, tables: [...new Set(tables)] }
}

/** Of the rule that leads to the table main. */
const MAIN_PRIORITY = 32766

const ALL_BITS = 0xffffffff

const PORT_SELECTORS = ['ipproto', 'sport', 'dport', 'sport_start', 'dport_start'] as const

/** Whether a rule leads to a default route, or to nowhere. */
function leadsOut(
  { table, suppress_prefixlen: suppressed = -1 }: IpRule,
  defaults: readonly IpRoute[],
): boolean {
  if (table === undefined) return true
  return defaults.some((route) => (route.table ?? 'main') === table && lengthOf(route) > suppressed)
}

function lengthOf({ dst = 'default' }: IpRoute): number {
  return dst === 'default' ? 0 : Number(dst.split('/')[1] ?? 128)
}
