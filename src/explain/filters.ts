/**
 * What filter chains of others do with a packet: those of nft itself (firewalld, Docker, libvirt, proxmox-firewall) and FORWARD of
 * iptables (facts/saved-forward.ts), walked as the kernel does. A condition that is not read may hold or not, so that a walk may
 * have several ends.
 */
import { contains, type Range } from '../address.ts'
import { isInterface, NAT_TARGETS } from '../facts/foreign.ts'
import { GOES_ON } from '../facts/saved-forward.ts'
import {
  nftPattern,
  nftPorts,
  nftRange,
  valuesOf,
  type NftChain,
  type NftRule,
  type Nftables,
} from '../facts/nftables.ts'
import { field, listOf, members, textOf } from '../json.ts'
import { protocolName } from '../nat/template.ts'
import { surelyInPorts, type Packet } from './packet.ts'

/** A packet where a hook meets it; undefined: anything. */
export interface Met extends Pick<Packet, 'family' | 'proto'> {
  source?: Range | undefined
  destination?: Range | undefined
  sport?: number | undefined
  dport?: number | undefined
  in?: string | undefined
  out?: string | undefined
  /** The destination of its connection was translated. */
  dnat: boolean
  /** It answers a packet that was let through. */
  isAnswer?: true
}

type End = 'accept' | 'drop' | 'nat' | 'return' | 'next'
/** Each way in which a walk can end, and the rule or policy that ends it so. */
type Ends = Map<End, string>

export interface Judged {
  /** `unknown`: it may drop the packet. */
  verdict: 'drop' | 'unknown' | 'nat' | 'may nat'
  /** Where the rule or policy stands that does so. */
  place: string
  chain: NftChain
}

const MAX_DEPTH = 16
const FAMILIES_OF: Readonly<Record<string, readonly number[]>> = { ip: [4], ip6: [6], inet: [4, 6] }

/** What base chains of a hook and type do to a packet, by priority; those that let it pass as it is are left out. */
export function judge(
  { chains, sets }: Nftables,
  { hook, type }: Pick<NftChain, 'hook' | 'type'>,
  met: Met,
): Judged[] {
  return chains
    .filter((chain) => chain.hook === hook && chain.type === type)
    .filter(({ family }) => FAMILIES_OF[family]?.includes(met.family))
    .sort((a, b) => a.priority - b.priority)
    .flatMap((chain): Judged[] => {
      const ends = run({ chains, sets }, chain, met, 0)
      const rest = ends.get('return')
      if (rest !== undefined) {
        ends.delete('return')
        if (!ends.has(chain.policy))
          ends.set(chain.policy, `nft list chain ${nameOf(chain)}: policy ${chain.policy}`)
      }
      const [drop, nat] = [ends.get('drop'), ends.get('nat')]
      const isSure = ends.size === 1
      if (drop !== undefined) return [{ verdict: isSure ? 'drop' : 'unknown', place: drop, chain }]
      return nat === undefined ? [] : [{ verdict: isSure ? 'nat' : 'may nat', place: nat, chain }]
    })
}

/** `inet firewalld filter_FORWARD`. */
export function nameOf({ family, table, name }: NftChain): string {
  return `${family} ${table} ${name}`
}

function placeOf(chain: NftChain, { place, handle }: NftRule): string {
  return place ?? `nft -a list chain ${nameOf(chain)}: handle ${handle}`
}

function run(nftables: Nftables, chain: NftChain, met: Met, depth: number): Ends {
  const ends: Ends = new Map()
  if (depth > MAX_DEPTH) return bothEnds(nameOf(chain))
  for (const rule of chain.rules) {
    const { holds, own } = runRule(nftables, chain, rule, met, depth)
    if (holds === false) continue
    for (const [end, place] of own) if (end !== 'next' && (holds || !ends.has(end))) ends.set(end, place)
    if (holds && !own.has('next')) return ends
  }
  if (!ends.has('return')) ends.set('return', nameOf(chain))
  return ends
}

function bothEnds(place: string): Ends {
  return new Map([
    ['accept', place],
    ['drop', place],
  ])
}

/** Statements that change nothing about where the packet goes. */
const IDLE = [
  'counter',
  'log',
  'mangle',
  'ct helper',
  'ct timeout',
  'flow',
  'set',
  'map',
  'notrack',
  'last',
  'comment',
  'continue',
  'meter',
]

function runRule(
  nftables: Nftables,
  chain: NftChain,
  rule: NftRule,
  met: Met,
  depth: number,
): { holds: boolean | undefined; own: Ends } {
  const place = placeOf(chain, rule)
  const next: Ends = new Map([['next', place]])
  let holds: boolean | undefined = true
  for (const statement of rule.statements) {
    const [name = '', value] = members(statement)[0] ?? []
    if (name === 'match') {
      const is = matches(nftables, chain, value, met)
      if (is === false) return { holds: false, own: next }
      holds &&= is
    } else if (name === 'vmap') {
      const own = ofMap(nftables, chain, value, met, place, depth)
      if (own.size > 1 || !own.has('next')) return { holds, own }
    } else {
      const own = ofVerdict(nftables, chain, name, value, met, place, depth)
      if (own) return { holds, own }
      if (!IDLE.includes(name)) holds = undefined
    }
  }
  return { holds, own: next }
}

/** Where a verdict leads; undefined when the statement is none. */
function ofVerdict(
  nftables: Nftables,
  chain: NftChain,
  name: string,
  value: unknown,
  met: Met,
  place: string,
  depth: number,
): Ends | undefined {
  switch (name) {
    case 'accept':
      return new Map([['accept', place]])
    case 'drop':
    case 'reject':
      return new Map([['drop', place]])
    case 'dnat':
    case 'redirect':
    case 'snat':
    case 'masquerade':
      return new Map([['nat', place]])
    case 'return':
      return new Map([['return', place]])
    case 'xt':
      return ofExtension(textOf(field(value, 'type')), textOf(field(value, 'name')), place)
    case 'queue':
    case 'tproxy':
      return bothEnds(place)
    case 'jump':
    case 'goto': {
      const target = textOf(field(value, 'target'))
      const to = nftables.chains.find(
        (one) => one.family === chain.family && one.table === chain.table && one.name === target,
      )
      const ends = to ? run(nftables, to, met, depth + 1) : bothEnds(place)
      const back = ends.get('return')
      if (name === 'goto' || back === undefined) return ends
      ends.delete('return')
      return ends.set('next', back)
    }
    default:
      return undefined
  }
}

/** An extension of iptables in a table that iptables does not read. */
function ofExtension(type: string, name: string, place: string): Ends | undefined {
  if (type !== 'target' || GOES_ON.test(name)) return undefined
  return NAT_TARGETS.has(name) ? new Map([['nat', place]]) : bothEnds(place)
}

/** A map from values to verdicts. */
function ofMap(
  nftables: Nftables,
  chain: NftChain,
  value: unknown,
  met: Met,
  place: string,
  depth: number,
): Ends {
  const ends: Ends = new Map()
  for (const pair of valuesOf(field(value, 'data'), chain, nftables).map(listOf)) {
    const [key, verdict] = pair
    const is = compares(valueOf(field(value, 'key'), met), key)
    if (is === false) continue
    const [name = '', to] = members(verdict)[0] ?? []
    const own: Ends = ofVerdict(nftables, chain, name, to, met, place, depth) ?? new Map([['next', place]])
    for (const [end, where] of own) ends.set(end, where)
    if (is) return ends
  }
  return ends.set('next', place)
}

function matches(nftables: Nftables, chain: NftChain, match: unknown, met: Met): boolean | undefined {
  const value = valueOf(field(match, 'left'), met)
  const wanted = valuesOf(field(match, 'right'), chain, nftables)
  let is: boolean | undefined = false
  for (const one of wanted) {
    const same = compares(value, one)
    if (same === true) {
      is = true
      break
    }
    if (same === undefined) is = undefined
  }
  const op = textOf(field(match, 'op'))
  if (op === '==' || op === 'in') return is
  if (op === '!=') return value === ABSENT ? false : is === undefined ? undefined : !is
  return undefined
}

/** The packet has no such field: a condition about it does not hold. */
const ABSENT = Symbol('absent')
/** One value, several that all are there (flags), or several at once (a concatenation). */
type Value =
  | Range
  | { port: number | undefined }
  | { words: readonly string[] }
  | { name: string }
  | { all: (Value | undefined)[] }
  | typeof ABSENT

/** Undefined: not known. */
function valueOf(left: unknown, met: Met): Value | undefined {
  const [kind = '', value] = members(left)[0] ?? []
  const key = textOf(field(value, 'key'))
  if (kind === 'payload')
    return payloadOf(textOf(field(value, 'protocol')), textOf(field(value, 'field')), met)
  if (kind === 'concat') return { all: listOf(value).map((one) => valueOf(one, met)) }
  if (kind === 'fib')
    return textOf(field(value, 'result')) === 'type' && met.out !== undefined
      ? { words: ['unicast'] }
      : undefined
  if (kind === 'ct') {
    const status = met.dnat ? ['dnat'] : []
    const state = met.isAnswer ? 'established' : 'new'
    if (key === 'state') return { words: [state] }
    if (key === 'status') return { words: status }
    if (key === 'state or status') return { words: [state, ...status] }
    return key === 'direction' ? { words: [met.isAnswer ? 'reply' : 'original'] } : undefined
  }
  if (kind !== 'meta') return undefined
  if (key === 'iifname' || key === 'iif') return met.in === undefined ? undefined : { name: met.in }
  if (key === 'oifname' || key === 'oif') return met.out === undefined ? undefined : { name: met.out }
  if (key === 'l4proto') return protocolOf(met)
  if (key === 'nfproto') return { words: [met.family === 4 ? 'ipv4' : 'ipv6'] }
  return key === 'protocol' ? { words: [met.family === 4 ? 'ip' : 'ip6'] } : undefined
}

function payloadOf(protocol: string, name: string, met: Met): Value | undefined {
  if (protocol === 'ip' || protocol === 'ip6') {
    if ((protocol === 'ip') !== (met.family === 4)) return ABSENT
    if (name === 'saddr') return met.source
    if (name === 'daddr') return met.destination
    return name === 'protocol' || name === 'nexthdr' ? protocolOf(met) : undefined
  }
  if (met.proto === 'all') return undefined
  if (protocol !== 'th' && protocolName(protocol) !== met.proto) return ABSENT
  if (name === 'sport') return { port: met.sport }
  const isKnown = met.dport !== undefined || met.isAnswer
  return name === 'dport' && isKnown ? { port: met.dport } : undefined
}

function protocolOf({ proto }: Met): Value | undefined {
  return proto === 'all' ? undefined : { words: [proto] }
}

function compares(value: Value | undefined, wanted: unknown): boolean | undefined {
  if (wanted === '*') return true
  if (value === ABSENT) return false
  if (value === undefined) return undefined
  if ('all' in value) {
    const parts = listOf(field(wanted, 'concat'))
    const each = value.all.map((one, i) => compares(one, parts[i]))
    return each.includes(false) ? false : each.includes(undefined) ? undefined : true
  }
  if ('name' in value) return isInterface(nftPattern(textOf(wanted)), value.name)
  if ('port' in value) {
    const range = nftPorts(wanted)
    return range && surelyInPorts(range, value.port)
  }
  if ('lo' in value) {
    const range = nftRange(wanted)
    if (!range) return undefined
    if (contains(range, value)) return true
    return range.family === value.family && range.lo <= value.hi && value.lo <= range.hi ? undefined : false
  }
  return value.words.includes(protocolName(textOf(wanted)))
}
