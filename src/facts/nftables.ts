/**
 * Native nftables rules, as `nft -j list ruleset` prints them (libnftables-json(5)): firewalld, Docker's nft mode, netavark,
 * libvirt, proxmox-firewall. Tables of iptables-nft are left out; iptables-nft-save shows them.
 */
import { parseCidr, parseRange, type Family, type Range } from '../address.ts'
import { field, listOf, members, parseJson, textOf } from '../json.ts'
import type { PortRange } from '../ports.ts'

type NftFamily = 'ip' | 'ip6' | 'inet' | 'bridge' | 'netdev'

export interface NftRule {
  handle: number
  /** Statements in order; a `match` that does not hold ends the rule. */
  statements: readonly unknown[]
  /** Where it was read, if not by its handle. */
  place?: string
}

export interface NftChain {
  family: NftFamily
  table: string
  name: string
  /** Of a base chain: `filter`, `nat`, `route`; '' of a chain that is only jumped to. */
  type: string
  /** `forward`, `prerouting`; '' of a chain that is only jumped to. */
  hook: string
  /** The interfaces of a base chain at `ingress` or `egress`. */
  devices?: readonly string[]
  /** The program that printed it, if not nft: `iptables-legacy-save`. */
  program?: string
  priority: number
  policy: 'accept' | 'drop'
  rules: NftRule[]
}

export interface Nftables {
  chains: readonly NftChain[]
  /** Elements of named sets and maps, by `FAMILY TABLE NAME`. */
  sets: ReadonlyMap<string, readonly unknown[]>
}

export const NO_NFTABLES: Nftables = { chains: [], sets: new Map() }

/** The families whose packets a table sees; none of those that see frames. A rule that names no address is one of each. */
export const FAMILIES_OF: Readonly<Record<string, readonly Family[]>> = { ip: [4], ip6: [6], inet: [4, 6] }
const IPTABLES = ['raw', 'mangle', 'nat', 'filter', 'security']

/** `saved`: what iptables-nft-save prints, by family. What is not understood is left out. */
export function parseNftables(text: string, saved: Readonly<Record<Family, string>>): Nftables {
  const chains = new Map<string, NftChain>()
  const sets = new Map<string, readonly unknown[]>()
  for (const item of listOf(field(parseJson(text), 'nftables'))) {
    const [kind = '', value] = members(item)[0] ?? []
    const [family, table, name] = ['family', 'table', 'name'].map((key) => textOf(field(value, key)))
    if (!isFamily(family) || table === undefined || isOfIptables(family, table, saved)) continue
    if (kind === 'chain') {
      const [type, hook] = ['type', 'hook'].map((key) => textOf(field(value, key)))
      const policy = field(value, 'policy') === 'drop' ? 'drop' : 'accept'
      const priority = Number(textOf(field(value, 'prio')) || 0)
      const chain = { family, table, name: name ?? '', type: type ?? '', hook: hook ?? '', priority, policy }
      const dev = field(value, 'dev')
      const devices = Array.isArray(dev) ? dev.map(textOf) : dev === undefined ? undefined : [textOf(dev)]
      chains.set(`${family} ${table} ${name}`, {
        ...chain,
        policy,
        rules: [],
        ...(devices ? { devices } : {}),
      })
    } else if (kind === 'rule') {
      const statements = listOf(field(value, 'expr'))
      const handle = Number(field(value, 'handle'))
      chains.get(`${family} ${table} ${textOf(field(value, 'chain'))}`)?.rules.push({ handle, statements })
    } else if (kind === 'set' || kind === 'map') {
      sets.set(`${family} ${table} ${name}`, listOf(field(value, 'elem')))
    }
  }
  return { chains: [...chains.values()], sets }
}

function isFamily(text: string | undefined): text is NftFamily {
  return ['ip', 'ip6', 'inet', 'bridge', 'netdev'].includes(text ?? '')
}

/** Tables that nft itself made under names of iptables: iptables-nft-save names them, and prints chains that are not there. */
export function incompatibleTables(saved: string): string[] {
  return saved
    .split('\n')
    .flatMap((line) => /^# Table `(\w+)' (?:is|contains) incompatible/.exec(line)?.[1] ?? [])
}

/** Whether a table is one of iptables, which `saved` then holds. */
export function isOfIptables(
  family: string,
  table: string,
  saved: Readonly<Record<Family, string>>,
): boolean {
  if (!IPTABLES.includes(table) || (family !== 'ip' && family !== 'ip6')) return false
  const text = saved[family === 'ip' ? 4 : 6]
  return `\n${text}`.includes(`\n*${table}\n`) && !incompatibleTables(text).includes(table)
}

/** A rule that translates, and what a packet must have for it as far as that can be read. */
interface NftNat {
  family: Family
  table: string
  chain: string
  handle: number
  kind: 'destination' | 'source'
  source?: Range[]
  destination?: Range[]
  out?: string
  in?: string
  proto?: string
  ports?: PortRange[]
}

const NAT_STATEMENTS: Readonly<Record<string, NftNat['kind']>> = {
  dnat: 'destination',
  redirect: 'destination',
  netmap: 'destination',
  snat: 'source',
  masquerade: 'source',
}

/** Every rule that translates, once for each family that it can concern. A condition that is not read counts as none. */
export function nftNat(nftables: Nftables): NftNat[] {
  return nftables.chains.flatMap((chain) =>
    chain.rules.flatMap((rule) =>
      rule.statements.flatMap((statement) => {
        const [name = '', value] = members(statement)[0] ?? []
        // A table that iptables does not read has its targets, too.
        const kind = NAT_STATEMENTS[(name === 'xt' ? textOf(field(value, 'name')) : name).toLowerCase()]
        if (!kind) return []
        const { family: table, name: at } = chain
        const about = { table: `${table} ${chain.table}`, chain: at, handle: rule.handle, kind }
        const conditions = conditionsOf(rule, value, chain, nftables)
        const named = [...(conditions.source ?? []), ...(conditions.destination ?? [])]
        return (FAMILIES_OF[table] ?? [])
          .filter((family) => named.every((range) => range.family === family))
          .map((family) => ({ family, ...about, ...conditions }))
      }),
    ),
  )
}

type Conditions = Pick<NftNat, 'source' | 'destination' | 'out' | 'in' | 'proto' | 'ports'>

/** What a packet must have for a rule, as far as that is read; `nat`: its statement that translates. */
export function conditionsOf(rule: NftRule, nat: unknown, chain: NftChain, nftables: Nftables): Conditions {
  const conditions: Conditions = {}
  for (const statement of rule.statements) {
    const match = field(statement, 'match')
    if (match !== undefined && field(match, 'op') !== '!=')
      take(conditions, field(match, 'left'), valuesOf(field(match, 'right'), chain, nftables))
  }
  const map = field(field(nat, 'addr'), 'map') ?? field(field(nat, 'port'), 'map')
  if (map !== undefined) {
    const keys = valuesOf(field(map, 'data'), chain, nftables).map((pair) => listOf(pair)[0])
    take(conditions, field(map, 'key'), keys)
  }
  return conditions
}

function take(conditions: Conditions, left: unknown, values: readonly unknown[]): void {
  const payload = field(left, 'payload')
  const [protocol, name] = [textOf(field(payload, 'protocol')), textOf(field(payload, 'field'))]
  if (name === 'saddr' || name === 'daddr') {
    const ranges = values.map(nftRange).filter((range) => range !== undefined)
    if (ranges.length === values.length) conditions[name === 'saddr' ? 'source' : 'destination'] = ranges
  } else if (name === 'dport') {
    const ports = values.map(nftPorts).filter((range) => range !== undefined)
    if (ports.length === values.length) conditions.ports = ports
    if (protocol !== 'th') conditions.proto = protocol
  }
  const key = textOf(field(field(left, 'meta'), 'key'))
  const [only] = values
  if (values.length !== 1) return
  if (key === 'l4proto' || name === 'protocol') conditions.proto = textOf(only)
  if (key === 'oifname') conditions.out = nftPattern(textOf(only))
  if (key === 'iifname') conditions.in = nftPattern(textOf(only))
}

/** The values that the right side of a condition, or the data of a map, stands for. */
export function valuesOf(
  right: unknown,
  { family, table }: NftChain,
  { sets }: Nftables,
): readonly unknown[] {
  if (Array.isArray(right)) return right
  if (typeof right === 'string' && right.startsWith('@'))
    return (sets.get(`${family} ${table} ${right.slice(1)}`) ?? []).map(withoutElem)
  const set = field(right, 'set')
  return Array.isArray(set) ? set.map(withoutElem) : [right]
}

/** An element with a counter or a time limit is wrapped: `{"elem": {"val": 80, "timeout": 60}}`. */
function withoutElem(value: unknown): unknown {
  return field(field(value, 'elem'), 'val') ?? value
}

/** `"10.0.0.1"`, `{"prefix": …}`, `{"range": […]}`. */
export function nftRange(value: unknown): Range | undefined {
  const prefix = field(value, 'prefix')
  if (prefix !== undefined)
    return parseCidr(`${textOf(field(prefix, 'addr'))}/${textOf(field(prefix, 'len'))}`)
  const range = listOf(field(value, 'range'))
  return parseRange(range.length === 2 ? range.map(textOf).join('-') : textOf(value))
}

export function nftPorts(value: unknown): PortRange | undefined {
  const [lo, hi = lo] = typeof value === 'number' ? [value] : listOf(field(value, 'range'))
  return typeof lo === 'number' && typeof hi === 'number' ? [lo, hi] : undefined
}

/** An interface pattern as iptables writes it: `*` at the end becomes `+`. */
export function nftPattern(name: string): string {
  return name.endsWith('*') ? `${name.slice(0, -1)}+` : name
}
