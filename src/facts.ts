/** What the node itself says, as values: read once at the edge (node/facts.ts) for `explain` and `doctor`. */
import { contains, FAMILIES, parseCidr, parseIp, type Family, type Range } from './address.ts'
import { field, parseJson, textOf } from './json.ts'

export type BackendName = 'legacy' | 'nft'

export interface Link {
  name: string
  /** `bridge`, `veth`, `tun` …; '' for real hardware. */
  kind: string
  /** The bridge that it is a port of. */
  master: string
  /** Upper case, colons. */
  mac: string
  up: boolean
}

export interface OwnAddress {
  dev: string
  ip: Range
}

export interface Route {
  to: Range
  /** Undefined for routes that lead nowhere. */
  dev?: string
  /** `unicast`, `blackhole`, `unreachable`, `prohibit`. */
  type: string
  metric: number
}

export interface Neighbour {
  dev: string
  ip: Range
  /** Upper case; '' while nobody has answered. */
  mac: string
  /** As `ip neigh` has them: REACHABLE, STALE, FAILED … */
  states: string[]
}

/** A process that listens on a port, with its systemd unit where it has one. */
export interface PortHolder {
  proto: 'tcp' | 'udp'
  port: number
  pid: number
  name: string
  unit?: string
}

export interface Versions {
  node: string
  kernel: string
  /** '' when the program is missing. */
  iptables: string
  ipset: string
  conntrack: string
}

export interface ServiceState {
  /** The service that keeps kernel and rules in step is a running process. */
  running: boolean
  /** What `systemctl is-enabled` says; undefined where systemd does not run or has no such unit. */
  enabled?: string
}

export interface NodeFacts {
  /** The backend that pvenat uses. */
  backend: BackendName
  /** By path below /proc/sys; what does not exist is missing. */
  sysctls: ReadonlyMap<string, string>
  links: readonly Link[]
  addresses: readonly OwnAddress[]
  routes: readonly Route[]
  /** There are rules of policy routing besides the three that every kernel has. */
  policyRouting: boolean
  neighbours: readonly Neighbour[]
  /** What the save programs print; '' where a backend is not in use, or could not be read (see `unread`). */
  tables: Readonly<Record<BackendName, Readonly<Record<Family, string>>>>
  /** proxmox-firewall's table of guests is in the kernel. */
  nftGuests: boolean
  holders: readonly PortHolder[]
  service: ServiceState
  versions: Versions
  /** What could not be read, and why. */
  unread: readonly string[]
}

/** `ip -j -d addr show`. */
export function parseLinks(text: string): { links: Link[]; addresses: OwnAddress[] } {
  const all = listOf(parseJson(text))
  const links = all.map((link): Link => {
    const flags = field(link, 'flags')
    return {
      name: textOf(field(link, 'ifname')),
      kind: textOf(field(field(link, 'linkinfo'), 'info_kind')),
      master: textOf(field(link, 'master')),
      mac: textOf(field(link, 'address')).toUpperCase(),
      up: Array.isArray(flags) && flags.includes('UP'),
    }
  })
  const addresses = all.flatMap((link) =>
    listOf(field(link, 'addr_info')).flatMap((one) => {
      const ip = parseIp(textOf(field(one, 'local')))
      return ip ? [{ dev: textOf(field(link, 'ifname')), ip }] : []
    }),
  )
  return { links, addresses }
}

/** `ip -j -4 route show` and `ip -j -6 route show`: the main table. */
export function parseRoutes(text: string, family: Family): Route[] {
  const all = listOf(parseJson(text)).flatMap((one): Route[] => {
    const dst = textOf(field(one, 'dst'))
    const to = parseCidr(dst === 'default' ? (family === 4 ? '0.0.0.0/0' : '::/0') : dst)
    const hops = [one, ...listOf(field(one, 'nexthops'))].map((hop) => textOf(field(hop, 'dev')))
    const dev = hops.find((name) => name !== '')
    const type = textOf(field(one, 'type')) || 'unicast'
    const metric = Number(textOf(field(one, 'metric')) || 0)
    return to?.family === family ? [{ to, type, metric, ...(dev === undefined ? {} : { dev }) }] : []
  })
  return all.sort((a, b) => width(a.to) - width(b.to) || a.metric - b.metric)
}

function width({ lo, hi }: Range): number {
  return (hi - lo).toString(2).length
}

/** The route that the main table has for an address: the narrowest, then the one with the least metric. */
export function routeTo({ routes }: Pick<NodeFacts, 'routes'>, address: Range): Route | undefined {
  return routes.find(({ to }) => contains(to, address))
}

/** `ip -j neigh show`. */
export function parseNeighbours(text: string): Neighbour[] {
  return listOf(parseJson(text)).flatMap((one) => {
    const ip = parseIp(textOf(field(one, 'dst')))
    const states = field(one, 'state')
    if (!ip) return []
    return [
      {
        dev: textOf(field(one, 'dev')),
        ip,
        mac: textOf(field(one, 'lladdr')).toUpperCase(),
        states: Array.isArray(states) ? states.map(textOf) : [],
      },
    ]
  })
}

/** Whether `ip -j rule` names more than the tables local, main and default. */
export function hasPolicyRouting(text: string): boolean {
  return listOf(parseJson(text)).some((rule) => {
    const table = textOf(field(rule, 'table'))
    return !['local', 'main', 'default'].includes(table) || textOf(field(rule, 'src')) !== 'all'
  })
}

/** Whether a chain is in the filter table of either backend. */
export function hasChain({ tables }: Pick<NodeFacts, 'tables'>, family: Family, name: string): boolean {
  return (['legacy', 'nft'] as const).some((backend) => tables[backend][family].includes(`\n:${name} `))
}

/** The policy of the chain FORWARD in a backend. */
export function forwardPolicy(
  { tables }: Pick<NodeFacts, 'tables'>,
  backend: BackendName,
  family: Family,
): 'ACCEPT' | 'DROP' {
  return tables[backend][family].includes('\n:FORWARD DROP ') ? 'DROP' : 'ACCEPT'
}

/** What the kernel uses for an interface: the larger of `all` and its own (ip-sysctl). */
export function rpFilter({ sysctls }: Pick<NodeFacts, 'sysctls'>, dev: string): number {
  return Math.max(...['all', dev].map((name) => Number(sysctls.get(`net/ipv4/conf/${name}/rp_filter`) ?? 0)))
}

/** The sysctl that switches forwarding for a family. */
export const FORWARDING: Readonly<Record<Family, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
}

/** The sysctls that facts hold; `*` stands for every interface. */
export const READ_SYSCTLS: readonly string[] = [
  ...FAMILIES.map((family) => FORWARDING[family]),
  'net/bridge/bridge-nf-call-iptables',
  'net/bridge/bridge-nf-call-ip6tables',
  'net/netfilter/nf_conntrack_count',
  'net/netfilter/nf_conntrack_max',
  'net/ipv4/conf/*/rp_filter',
]

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}
