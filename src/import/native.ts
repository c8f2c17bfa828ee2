/** NAT rules of nft itself, read as strictly as those of iptables; libnftables-json(5). */
import { parseIp, type Family } from '../address.ts'
import {
  FAMILIES_OF,
  nftPattern,
  nftPorts,
  nftRange,
  type NftChain,
  type Nftables,
} from '../facts/nftables.ts'
import { field, listOf, members, textOf } from '../json.ts'
import type { Hook, Sides, Written } from './foreign-rule.ts'
import type { Read } from './words.ts'

const HOOK_OF: Readonly<Record<string, Hook>> = {
  prerouting: 'PREROUTING',
  output: 'OUTPUT',
  postrouting: 'POSTROUTING',
}
const TARGET_OF: Readonly<Record<string, string>> = {
  dnat: 'DNAT',
  snat: 'SNAT',
  masquerade: 'MASQUERADE',
  redirect: 'REDIRECT',
  accept: 'ACCEPT',
  return: 'RETURN',
}

/** Rules that are reached by jumps come with the conditions of the jumps. */
export function nativeRules({ chains }: Nftables): Written[] {
  const found: Written[] = []
  const visit = (
    hook: Hook,
    chain: NftChain,
    before: readonly unknown[],
    path: readonly NftChain[],
  ): void => {
    let returned: unknown[] = []
    for (const { handle, statements } of chain.rules) {
      const all = [...before, ...returned, ...statements]
      const jump = statements
        .map((one) => field(one, 'jump') ?? field(one, 'goto'))
        .find((one) => one !== undefined)
      const to = chains.find(
        ({ family, table, name }) =>
          family === chain.family && table === chain.table && name === textOf(field(jump, 'target')),
      )
      if (to && !path.includes(to)) visit(hook, to, all, [...path, to])
      const native = { family: chain.family, table: chain.table, chain: chain.name, handle }
      const text = `${chain.family} ${chain.table} ${chain.name} handle ${handle}`
      const ends = path.length > 1 || hook !== 'POSTROUTING' ? ['return', 'accept'] : []
      if (statements.some((one) => ends.some((end) => end in Object(one))))
        returned = [...returned, { behind: text }]
      for (const family of FAMILIES_OF[chain.family] ?? []) {
        if (all.some((one) => isOfOther(one, family))) continue
        const read = interpret(all, family)
        const isOther = read.target === '' || (family === 6 && read.to?.address?.family === 4)
        if (!isOther)
          found.push({ ...read, from: 'nft -a list ruleset', text, family, hook, loaded: { native } })
      }
    }
  }
  for (const chain of [...chains].sort((one, other) => one.priority - other.priority)) {
    const hook = HOOK_OF[chain.hook]
    if (hook && chain.type === 'nat') visit(hook, chain, [], [chain])
  }
  return found
}

/** Whether no packet of the family can meet a statement. */
function isOfOther(statement: unknown, family: Family): boolean {
  const match = field(statement, 'match')
  const left = field(match, 'left')
  const other = family === 4 ? 'ip6' : 'ip'
  const isByProtocol = field(field(left, 'meta'), 'key') === 'nfproto' && field(match, 'op') === '=='
  return (
    field(field(left, 'payload'), 'protocol') === other ||
    (isByProtocol && field(match, 'right') === { ip: 'ipv4', ip6: 'ipv6' }[other])
  )
}

function interpret(statements: readonly unknown[], family: Family): Read {
  const rule: Read = { not: {}, target: '', unread: [] }
  for (const statement of statements) {
    const [[kind = '', value] = []] = members(statement)
    const target = TARGET_OF[kind]
    const isRead =
      kind === 'match'
        ? takeMatch(rule, value, family)
        : kind === 'counter' ||
          kind === 'jump' ||
          kind === 'goto' ||
          (target !== undefined && takeTo(rule, value, family))
    if (target !== undefined) rule.target = target
    if (!isRead) rule.unread.push(kind === 'behind' ? `behind ${textOf(value)}` : JSON.stringify(statement))
  }
  return rule
}

function takeTo(rule: Read, value: unknown, family: Family): boolean {
  const [addr, port] = [field(value, 'addr'), field(value, 'port')]
  const address = addr === undefined ? undefined : parseIp(textOf(addr))
  const ports = port === undefined ? undefined : nftPorts(port)
  if ((addr !== undefined && !address) || (port !== undefined && !ports)) return false
  if (address || ports) rule.to = { ...(address ? { address } : {}), ...(ports ? { ports } : {}) }
  return address === undefined || address.family === family
}

function takeMatch(rule: Read, match: unknown, family: Family): boolean {
  const [left, right, op] = ['left', 'right', 'op'].map((key) => field(match, key))
  const isNot = op === '!='
  const into: Sides = isNot ? rule.not : rule
  const payload = field(left, 'payload')
  const name = textOf(field(payload, 'field')) || textOf(field(field(left, 'meta'), 'key'))
  const values = setOf(right)
  const [only, ...more] = values
  const isOne = more.length === 0
  const side = { saddr: 'source', daddr: 'destination' }[name] as 'source' | 'destination' | undefined
  if (side) {
    const range = isOne ? nftRange(only) : undefined
    if (range?.family !== family || into[side] !== undefined) return false
    into[side] = range
    return true
  }
  if (textOf(field(field(left, 'fib'), 'result')) === 'type') {
    rule.isLocal = true
    return !isNot && only === 'local'
  }
  if (name === 'iifname' || name === 'oifname') {
    const at = name === 'iifname' ? 'in' : 'out'
    if (!isOne || into[at] !== undefined) return false
    into[at] = nftPattern(textOf(only))
    return true
  }
  if (isNot) return false
  if (name === 'dport' || name === 'sport') {
    const ports = values.map(nftPorts)
    if (!ports.every((range) => range !== undefined)) return false
    rule[name === 'dport' ? 'ports' : 'sports'] = ports
    const protocol = textOf(field(payload, 'protocol'))
    if (protocol !== 'th') rule.proto = protocol
    return true
  }
  if (name === 'l4proto' || name === 'protocol' || name === 'nexthdr') {
    rule.proto = textOf(only)
    return isOne
  }
  return name === 'nfproto' && isOne && only === (family === 4 ? 'ipv4' : 'ipv6')
}

function setOf(right: unknown): readonly unknown[] {
  const set = field(right, 'set')
  return set === undefined ? [right] : listOf(set)
}
