/** The fields of a packet that conditions of nft ask for, and whether they have the value that is asked for. */
import { contains, type Range } from '../address.ts'
import { isInterface } from '../facts/foreign.ts'
import { nftPattern, nftPorts, nftRange } from '../facts/nftables.ts'
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
  /** The interface of the route to its source: what reverse path filters ask for. */
  returnsBy?: string | undefined
  /** Connection tracking has not seen it yet. */
  isUnseen?: true
  /** The rule that keeps it from connection tracking. */
  untracked?: string | undefined
}

/** The packet has no such field: a condition about it does not hold. */
export const ABSENT = Symbol('absent')
/** One value, several that all are there (flags), or several at once (a concatenation). */
type Value =
  | Range
  | { port: number | undefined }
  | { words: readonly string[] }
  | { isThere: boolean }
  | { name: string }
  | { all: (Value | undefined)[] }
  | typeof ABSENT

/** Undefined: not known. */
export function valueOf(left: unknown, met: Met): Value | undefined {
  const [kind = '', value] = members(left)[0] ?? []
  const key = textOf(field(value, 'key'))
  if (kind === 'payload')
    return payloadOf(textOf(field(value, 'protocol')), textOf(field(value, 'field')), met)
  if (kind === 'concat') return { all: listOf(value).map((one) => valueOf(one, met)) }
  if (kind === 'fib') return fibOf(value, met)
  if (kind === 'ct') {
    if (met.isUnseen) return undefined
    const status = met.dnat ? ['dnat'] : []
    const state = met.untracked !== undefined ? 'untracked' : met.isAnswer ? 'established' : 'new'
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

/** The routing table, as reverse path filters ask it. */
function fibOf(value: unknown, { in: from, out, returnsBy }: Met): Value | undefined {
  const [result, flags] = [textOf(field(value, 'result')), listOf(field(value, 'flags'))]
  if (result === 'type') return out === undefined ? undefined : { words: ['unicast'] }
  const isReverse = result === 'oif' && flags.includes('saddr') && from !== undefined
  if (!isReverse || returnsBy === undefined) return undefined
  return { isThere: !flags.includes('iif') || returnsBy === from }
}

function payloadOf(protocol: string, name: string, met: Met): Value | undefined {
  if (protocol === 'ether') return name === 'type' ? { words: [met.family === 4 ? 'ip' : 'ip6'] } : undefined
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

export function compares(value: Value | undefined, wanted: unknown): boolean | undefined {
  if (wanted === '*') return true
  if (value === ABSENT) return false
  if (value === undefined) return undefined
  if ('all' in value) {
    const parts = listOf(field(wanted, 'concat'))
    const each = value.all.map((one, i) => compares(one, parts[i]))
    return each.includes(false) ? false : each.includes(undefined) ? undefined : true
  }
  if ('isThere' in value) return value.isThere === wanted
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
