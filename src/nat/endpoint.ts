/** Endpoints: ports, addresses and the words that stand in their place. */
import { formatRange, parseCidr, parseIp, type Range } from '../address.ts'
import type { PortRange } from '../ports.ts'
import { plain } from './free-text.ts'
import type { Word } from './words.ts'

export interface Endpoint {
  /** `none`: exempt. `auto`: ports from the guest's block. `ask`: `?`, nothing is forwarded, and the answer says what could be. */
  kind: 'value' | 'none' | 'auto' | 'ask'
  address?: Range
  /** Of full=1: all addresses of a network, of more than one address. */
  network?: Range
  ports?: PortRange[]
  /** Those of `ports` that were written with a colon, as docker writes something else. */
  colons?: PortRange[]
}

const PORTS = /^\d+(?:[-:]\d+)?(?:,\d+(?:[-:]\d+)?)*$/
/** Of ports in one comment; pve-firewall itself takes no more than 15 numbers. */
const MAX_RANGES = 100

/** The endpoint in a word; undefined when it is none and does not look like one; the reason when it looks like one. */
export function parseEndpoint(text: string): Endpoint | undefined | string {
  const word = text.toLowerCase()
  if (word === 'none' || word === 'off') return { kind: 'none' }
  if (word === '?') return { kind: 'ask' }
  if (word === 'auto') return { kind: 'auto' }
  if (word === 'no') return "for no NAT at all the word is 'none'"
  if (word === '1:1') return '1:1 NAT is written as an address and full=1: NAT ADDRESS full=1'
  if (PORTS.test(text)) return withPorts(text, {})
  const address = parseIp(text)
  if (address) return { kind: 'value', address }
  if (/^[\da-f.:]+\/\d+$/i.test(text)) return wholeNetwork(text)
  const pair = /^(?:\[([^\]]*)\]|(\d+\.\d+\.\d+\.\d+))(?::(.*))?$/.exec(text)
  if (pair) {
    const ip = parseIp(pair[1] ?? pair[2] ?? '')
    if (!ip || (pair[1] !== undefined && ip.family !== 6)) return `'${pair[1] ?? pair[2]}' is not an address`
    if (pair[3] === undefined) return { kind: 'value', address: ip }
    if (!PORTS.test(pair[3])) return `'${pair[3]}' is not a list of ports`
    return withPorts(pair[3], { address: ip })
  }
  if (/^[\d[:]/.test(text)) return 'it is neither ports, nor an address, nor ADDRESS:PORTS'
  if (/^[\p{Nd}[:]/u.test(plain(text))) return 'digits, colons and brackets are those of ASCII'
  return undefined
}

/** `203.0.113.16/28`, written as the network that it is. */
export function wholeNetwork(text: string): Endpoint | string {
  const network = parseCidr(text)
  if (!network) return `'${text}' is not a network`
  if (network.lo === network.hi) return `a network of one address is written as ${formatRange(network)}`
  const [head = ''] = text.split('/')
  if (parseIp(head)?.lo !== network.lo) return `the network around ${head} is ${formatRange(network)}`
  return { kind: 'value', network }
}

function withPorts(text: string, rest: { address?: Range }): Endpoint | string {
  const ports: PortRange[] = []
  const colons: PortRange[] = []
  for (const item of text.split(',')) {
    const [lo, hi = lo] = item.split(/[-:]/).map(Number) as [number, number?]
    if (lo < 1 || hi < 1 || lo > 65535 || hi > 65535) return `port ${item} is not between 1 and 65535`
    if (lo > hi)
      return item.includes(':')
        ? `the range ${item} runs backwards, and the inner port is not named here: it is the rule's destination port`
        : `the range ${item} runs backwards`
    if (ports.some(([l, h]) => lo <= h && l <= hi)) return `port ${item} is named twice`
    if (ports.length === MAX_RANGES) return `it names more than ${MAX_RANGES} ranges of ports`
    ports.push([lo, hi])
    if (item.includes(':')) colons.push([lo, hi])
  }
  const endpoint: Endpoint = { kind: 'value', ...rest, ports: ports.slice() }
  return colons.length > 0 ? { ...endpoint, colons } : endpoint
}

/** What docker and ssh users mean: `8443:443` names an outer and an inner port, `no` is none. */
export function spelledPlainly([first, ...others]: readonly Word[]): Word[] {
  if (!first) return []
  if (first.text.toLowerCase() === 'no') return [{ ...first, text: 'none' }]
  const backwards = /^(\d+)-(\d+)$/.exec(first.text)
  if (backwards) return [{ ...first, text: `${backwards[2]}-${backwards[1]}` }, ...others]
  // The length of its network, as the address of an interface is written; with full=1 the network itself may be meant.
  const isWhole = others.some(({ text }) => text.startsWith('full='))
  const bare = isWhole ? first.text : first.text.replace(/^(\[?[\da-f.:]+)\/\d{1,3}(?=\]?(?::|$))/i, '$1')
  const dashed = plain(bare).replace(/(\d)(?:\.{2,3}|[\u2010-\u2015\u2212])(?=\d)/g, '$1-')
  const text = dashed.replace(/(?<=^|[:\]])(\d+):(\d+)(\/\w+)?$/, '$1>$2')
  return [{ ...first, text }, ...others]
}
