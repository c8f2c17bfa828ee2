/**
 * The comment language: NAT[:] [ENDPOINT] [option=value ...] [-] [free text].
 * It never guesses: a first word that looks like an endpoint and is none is an error, not text.
 */
import { formatRange, parseIp, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import type { PortRange } from '../ports.ts'

export type Direction = 'in' | 'out'

export interface Endpoint {
  none: boolean
  address?: Range
  ports?: PortRange[]
}

type OptionName = 'if' | 'to' | 'full' | 'snat' | 'hairpin'

export interface NatComment {
  endpoint?: Endpoint
  if?: string
  to?: Range
  full: boolean
  snat: boolean
  hairpin: boolean
  /** Where words stand, for diagnostics about what they ask for. `all` is the word NAT. */
  places: { all: Place } & Partial<Record<'endpoint' | 'ports' | 'address' | OptionName, Place>>
  /** A comment with errors is not translated. */
  problems: Diagnostic[]
}

interface Word {
  text: string
  /** Offset in the comment, in characters. */
  at: number
}

const TRIGGER = /^NAT(?![\p{L}\p{N}_])/u
const PORTS = /^\d+(?:[-:]\d+)?(?:,\d+(?:[-:]\d+)?)*$/
const OPTION = /^([\p{L}_][\p{L}\p{N}_-]*)=(.*)$/u
/** Nobody needs more; a comment of a megabyte shall cost no more than its line. Text behind it is free text. */
const MAX_COMMENT_CHARS = 2048
/** Of ports in one comment; pve-firewall itself takes no more than 15 numbers. */
const MAX_RANGES = 100
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}$/

interface Option {
  directions: Direction[]
  expected: string
  /** Whether the value is one. */
  set: (comment: NatComment, value: string) => boolean
}

const OPTIONS: Record<OptionName, Option> = {
  if: {
    directions: ['in', 'out'],
    expected: 'the name of an external interface',
    set: (comment, value) => NAME.test((comment.if = value)),
  },
  to: {
    directions: ['in'],
    expected: 'one address',
    set(comment, value) {
      const address = parseIp(value.replace(/^\[(.*)\]$/, '$1'))
      if (address) comment.to = address
      return address !== undefined
    },
  },
  full: flag('full'),
  snat: flag('snat'),
  hairpin: flag('hairpin'),
}

function flag(name: 'full' | 'snat' | 'hairpin'): Option {
  const set = (comment: NatComment, value: string): boolean => {
    comment[name] = value === '1'
    return value === '0' || value === '1'
  }
  return { directions: ['in'], expected: '0 or 1', set }
}

function isOption(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name)
}

/** Whether a rule's comment (as pve-firewall decodes and trims it) makes it a NAT rule. */
export function isMarked(comment: string | undefined): comment is string {
  return comment !== undefined && TRIGGER.test(comment)
}

/** Reads a marked comment. `place` is where the comment stands; `direction` is the rule's. Never fails: see `problems`. */
export function parseComment(comment: string, place: Place, direction: Direction): NatComment {
  const at = (word: Word, from = 0, to = word.text.length): Place =>
    placeOf(place, comment, word.at + from, word.at + to)
  const result: NatComment = {
    full: false,
    snat: false,
    hairpin: true,
    places: { all: placeOf(place, comment, 0, 3) },
    problems: [],
  }
  const words = split(comment, comment.startsWith('NAT:') ? 4 : 3)
  let rest = takeEndpoint(result, words, direction, at)
  while (rest.length > 0) {
    const word = rest[0] as Word
    const option = OPTION.exec(word.text)
    if (!option) break
    takeOption(result, option[1] as string, option[2] as string, word, direction, at)
    rest = rest.slice(1)
  }
  checkText(result, rest, at)
  return result
}

type At = (word: Word, from?: number, to?: number) => Place

function takeEndpoint(result: NatComment, words: Word[], direction: Direction, at: At): Word[] {
  const first = words[0]
  if (!first) return words
  const endpoint = parseEndpoint(first.text)
  if (typeof endpoint === 'string') {
    const facts = {
      word: first.text,
      why: endpoint,
      help: direction === 'in' ? 'NAT 822' : 'NAT 203.0.113.7',
    }
    result.problems.push(diagnose('endpoint-invalid', at(first), facts))
    return words.slice(1)
  }
  if (!endpoint) return words
  if (direction === 'out' && endpoint.ports) {
    const help = endpoint.address ? `NAT ${formatRange(endpoint.address)}` : 'NAT'
    result.problems.push(diagnose('endpoint-direction', at(first), { word: first.text, help }))
    return words.slice(1)
  }
  result.endpoint = endpoint
  result.places.endpoint = at(first)
  const { address, ports } = endpoint
  const colon = first.text.startsWith('[') ? first.text.indexOf(']') + 1 : first.text.indexOf(':')
  const split = address && ports ? colon : undefined
  if (ports) result.places.ports = at(first, split === undefined ? 0 : split + 1)
  if (address) result.places.address = at(first, 0, split)
  return words.slice(1)
}

/** The endpoint in a word; undefined when it is none and does not look like one; the reason when it looks like one. */
function parseEndpoint(text: string): Endpoint | undefined | string {
  if (text === 'none') return { none: true }
  if (PORTS.test(text)) return withPorts(text, {})
  const address = parseIp(text)
  if (address) return { none: false, address }
  const pair = /^(?:\[([^\]]*)\]|(\d+\.\d+\.\d+\.\d+))(?::(.*))?$/.exec(text)
  if (pair) {
    const ip = parseIp(pair[1] ?? pair[2] ?? '')
    if (!ip || (pair[1] !== undefined && ip.family !== 6)) return `'${pair[1] ?? pair[2]}' is not an address`
    if (pair[3] === undefined) return { none: false, address: ip }
    if (!PORTS.test(pair[3])) return `'${pair[3]}' is not a list of ports`
    return withPorts(pair[3], { address: ip })
  }
  if (/^[\d[:]/.test(text)) return 'it is neither ports, nor an address, nor ADDRESS:PORTS'
  return undefined
}

function withPorts(text: string, rest: { address?: Range }): Endpoint | string {
  const ports: PortRange[] = []
  for (const item of text.split(',')) {
    const [lo, hi = lo] = item.split(/[-:]/).map(Number) as [number, number?]
    if (lo < 1 || hi > 65535) return `port ${item} is not between 1 and 65535`
    if (lo > hi) return `the range ${item} runs backwards`
    if (ports.some(([l, h]) => lo <= h && l <= hi)) return `port ${item} is named twice`
    if (ports.length === MAX_RANGES) return `it names more than ${MAX_RANGES} ranges of ports`
    ports.push([lo, hi])
  }
  return { none: false, ...rest, ports: ports.slice() }
}

function takeOption(
  result: NatComment,
  name: string,
  value: string,
  word: Word,
  direction: Direction,
  at: At,
): void {
  const place = at(word)
  const report = (problem: Diagnostic): void => void result.problems.push(problem)
  if (!isOption(name)) return report(diagnose('option-unknown', place, { word: word.text }))
  const { directions, expected, set } = OPTIONS[name]
  if (!directions.includes(direction))
    return report(diagnose('option-direction', place, { option: name, direction: direction.toUpperCase() }))
  if (result.places[name]) return report(diagnose('option-twice', place, { option: name }))
  result.places[name] = place
  if (!set(result, value)) report(diagnose('option-value', place, { word: word.text, expected }))
}

/** Warns of options in the free text, and of an endpoint that stands behind an option. */
function checkText(result: NatComment, text: Word[], at: At): void {
  const first = text[0]
  if (!first || first.text === '-') return
  if (!result.endpoint && result.problems.length === 0) {
    const endpoint = parseEndpoint(first.text)
    if (typeof endpoint === 'object')
      result.problems.push(diagnose('endpoint-late', at(first), { word: first.text }))
  }
  for (const word of text) {
    const option = OPTION.exec(word.text)
    if (option && isOption(option[1] as string)) {
      result.problems.push(diagnose('option-in-text', at(word), { word: word.text }))
    }
  }
}

function split(text: string, from: number): Word[] {
  return [...text.slice(from, MAX_COMMENT_CHARS).matchAll(/[^ \t]+/g)].map((match) => ({
    text: match[0],
    at: from + match.index,
  }))
}

/** Characters [from, to) of a decoded comment as a place in its line, which is counted in bytes. */
function placeOf(place: Place, comment: string, from: number, to: number): Place {
  const bytes = (end: number): number => new TextEncoder().encode(comment.slice(0, end)).length
  const { line, from: start, to: end } = place.span
  // A byte that is no UTF-8 counts as the three of U+FFFD.
  const at = (chars: number): number => Math.min(start + bytes(chars), end)
  return { file: place.file, span: { line, from: at(from), to: at(to) } }
}
