/** The words of one iptables rule. */
import { parseCidr, parseIp, parseRange, sameRange, type Family, type Range } from '../address.ts'
import type { PortRange } from '../ports.ts'
import type { Sides, Written } from './foreign-rule.ts'

/** What the words of a rule say; the rest of it is about where it was read. */
export type Read = Omit<Written, 'from' | 'text' | 'family' | 'hook'>

/** Put before the text of a rule that lets packets out of a chain: what stands behind it does not meet them. */
export const BEHIND = 'behind '

/** What a rule asks for, by its words; every other word is `unread`. */
export function interpret(words: readonly string[], family: Family): Read {
  const rule: Read = { not: {}, target: '', unread: [] }
  for (let i = 0; i < words.length; i++) {
    const isNot = words[i] === '!'
    if (isNot) i += 1
    const word = words[i] ?? ''
    const value = words[i + 1] ?? ''
    const name = SPELLINGS[word] ?? word
    if (NO_VALUE.has(word)) continue
    if (word.startsWith(BEHIND)) {
      rule.unread.push(word)
      continue
    }
    i += 1
    const side = SIDES[name]
    if (side) {
      const into: Sides = isNot ? rule.not : rule
      const read = side === 'in' || side === 'out' ? value : parseRange(value)
      // The same condition twice, of a jump and of the rule behind it, is one only where both say the same.
      if (read === undefined || (into[side] !== undefined && !isEqual(into[side], read)))
        rule.unread.push(`${word} ${value}`)
      else Object.assign(into, { [side]: read })
    } else if (isNot || !takeWord(rule, name, value, family)) {
      rule.unread.push([isNot ? '!' : '', word, value].join(' ').trim())
    }
  }
  return rule
}

const SPELLINGS: Readonly<Record<string, string>> = {
  '--source': '-s',
  '--src': '-s',
  '--destination': '-d',
  '--dst': '-d',
  '--in-interface': '-i',
  '--out-interface': '-o',
  '--protocol': '-p',
  '--dports': '--dport',
  '--destination-port': '--dport',
  '--destination-ports': '--dport',
  '--sports': '--sport',
  '--source-port': '--sport',
  '--source-ports': '--sport',
  '--jump': '-j',
  '--match': '-m',
  '--table': '-t',
  '--to': '--to-destination',
  '--to-source': '--to-destination',
}
const SIDES: Readonly<Record<string, keyof Sides>> = {
  '-s': 'source',
  '-d': 'destination',
  '-i': 'in',
  '-o': 'out',
}
/** How the kernel chooses source ports is pvenat's own affair. */
const NO_VALUE = new Set(['--random', '--random-fully', '--persistent', '-w', '--wait'])
const MATCHES = new Set(['tcp', 'udp', 'sctp', 'udplite', 'dccp', 'multiport', 'comment', 'addrtype'])

/** Takes one option with its value; false when it is not understood. */
function takeWord(rule: Read, name: string, value: string, family: Family): boolean {
  switch (name) {
    case '-m':
      return MATCHES.has(value)
    case '-t':
    case '--comment':
      return true
    case '--dst-type':
      rule.isLocal = true
      return value === 'LOCAL'
    case '-p':
      if (rule.proto !== undefined && rule.proto !== value) return false
      if (value !== 'all') rule.proto = value
      return true
    case '--dport':
    case '--sport': {
      const key = name === '--dport' ? 'ports' : 'sports'
      const ports = value.split(',').map(parsePorts)
      const before = rule[key]
      if (
        ports.some((range) => range === undefined) ||
        (before && JSON.stringify(before) !== JSON.stringify(ports))
      )
        return false
      rule[key] = ports as PortRange[]
      return true
    }
    case '-j':
      rule.target = value
      return true
    case '--zone':
      rule.zone = value
      return true
    case '--to-ports':
      // Of REDIRECT, which leads to the node itself.
      return true
    case '--to-destination':
      Object.assign(rule, {
        to: rule.target === 'NETMAP' ? toNetwork(value, family) : parseTo(value, family),
      })
      return rule.to !== undefined
    default:
      return false
  }
}

function parsePorts(text: string): PortRange | undefined {
  const [, lo, hi = lo] = /^(\d+)(?::(\d+))?$/.exec(text) ?? []
  return lo === undefined ? undefined : [Number(lo), Number(hi)]
}

/** Of NETMAP. */
function toNetwork(text: string, family: Family): Written['to'] {
  const network = parseCidr(text)
  return network?.family === family ? { network } : undefined
}

/** `10.10.10.107:22`, `[2001:db8::7]:80-90`, `10.10.10.107:2000-2010/1000`, `:8080`. */
function parseTo(text: string, family: Family): Written['to'] {
  const parts = /^(?:\[([\da-f:.]+)\]|([\d.]+)|([\da-f:.]+(?<!:)))?(?::(\d+)(?:-(\d+))?(\/\d+)?)?$/.exec(text)
  if (!parts) return undefined
  const [, bracketed, v4, v6, lo, hi = lo, base] = parts
  const ip = bracketed ?? v4 ?? v6
  const address = ip === undefined ? undefined : parseIp(ip)
  if (ip !== undefined && address?.family !== family) return undefined
  return {
    ...(address ? { address } : {}),
    ...(lo === undefined ? {} : { ports: [Number(lo), Number(hi)] as const }),
    ...(base === undefined ? {} : { isShifted: true }),
  }
}

function isEqual(one: Range | string | undefined, other: Range | string): boolean {
  if (typeof one !== 'object' || typeof other !== 'object') return one === other
  return sameRange(one, other)
}
