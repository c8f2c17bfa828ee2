/**
 * The comment language: NAT[:] [ENDPOINT] [option=value ...] [-] [free text].
 * It never guesses. A first word that looks like an endpoint but is not valid is an error; so is text in place of an endpoint that looks like
 * grammar (free-text.ts).
 */
import { formatRange, parseIp, prefixLength, sameSize, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { nearest } from '../nearest.ts'
import { formatPorts } from '../ports.ts'
import { parseEndpoint, spelledPlainly, wholeNetwork, type Endpoint } from './endpoint.ts'
import {
  findSigns,
  isTelling,
  meantComment,
  renderComment,
  type Found,
  type IsInterface,
  type Parts,
} from './free-text.ts'
import { placeOf, readWords, type Word } from './words.ts'

type Direction = 'in' | 'out'

type OptionName = 'if' | 'via' | 'to' | 'full' | 'snat' | 'hairpin'

export interface NatComment {
  endpoint?: Endpoint
  if?: string
  via?: string[]
  /** One address; a network where the endpoint is one. */
  to?: Range
  full: boolean
  snat: boolean
  hairpin: boolean
  /** Where words stand, for diagnostics about what they ask for. `all` is the word NAT. */
  places: { all: Place } & Partial<Record<'endpoint' | 'ports' | 'address' | OptionName, Place>>
  /** The words that are options, as typed. */
  options: string[]
  /** A comment with errors is not translated. */
  problems: Diagnostic[]
}

/** Facts of the rule on which the meaning of its comment depends. */
export interface Around {
  direction: Direction
  /** The rule's inner ports as text, '' when it has none. Asked only when there is something to say. */
  inner: () => string
  isInterface: IsInterface
}

const OPTION = /^([\p{L}_][\p{L}\p{N}_-]*)=(.*)$/u
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}$/

interface Option {
  directions: Direction[]
  expected: string
  /** Sets the value; returns whether it is valid. */
  set: (comment: NatComment, value: string) => boolean
}

const OPTIONS: Record<OptionName, Option> = {
  if: {
    directions: ['in', 'out'],
    expected: 'the name of an external interface',
    set: (comment, value) => NAME.test((comment.if = value)),
  },
  via: {
    directions: ['out'],
    expected: 'the name of an uplink, or several separated by commas',
    set: (comment, value) => (comment.via = value.split(',')).every((name) => NAME.test(name)),
  },
  to: {
    directions: ['in'],
    expected: 'one address or a network',
    set(comment, value) {
      const network = value.includes('/') ? wholeNetwork(value) : undefined
      const to = typeof network === 'object' ? network.network : parseIp(value.replace(/^\[(.*)\]$/, '$1'))
      if (to) comment.to = to
      return to !== undefined
    },
  },
  full: flag('full'),
  snat: flag('snat'),
  hairpin: flag('hairpin'),
}

function flag(name: 'full' | 'snat' | 'hairpin'): Option {
  const set = (comment: NatComment, value: string): boolean => {
    comment[name] = /^(?:1|yes)$/i.test(value)
    return /^(?:0|1|yes|no)$/i.test(value)
  }
  return { directions: ['in'], expected: '0 or 1', set }
}

function isOption(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name)
}

/** A comment that is being read. */
interface Reading {
  comment: string
  around: Around
  result: NatComment
  at: (word: Word, from?: number, to?: number) => Place
  /** Whether to propose another comment; false while a proposal itself is tested. */
  advises: boolean
}

/** Reads a marked comment. `place` is where the comment stands. Never fails: see `problems`. */
export function parseComment(comment: string, place: Place, around: Around): NatComment {
  return parse(comment, place, around, true)
}

function parse(comment: string, place: Place, around: Around, advises: boolean): NatComment {
  const { at: start, words } = readWords(comment)
  const result: NatComment = {
    full: false,
    snat: false,
    hairpin: true,
    places: { all: placeOf(place, comment, start, start + 3) },
    options: [],
    problems: [],
  }
  const at = (word: Word, from = 0, to = word.text.length): Place =>
    placeOf(place, comment, word.at + from, word.at + to)
  const reading: Reading = { comment, around, result, at, advises }
  let rest = takeEndpoint(reading, words)
  const unknown: Word[] = []
  for (; rest[0]; rest = rest.slice(1)) {
    const option = OPTION.exec(rest[0].text)
    if (!option) break
    if (!takeOption(reading, option[1] as string, option[2] as string, rest[0])) unknown.push(rest[0])
  }
  if (result.problems.every(({ code }) => code === 'option-unknown')) checkText(reading, unknown, rest)
  checkOptionsInText(reading, rest)
  const odd = checkNetworks(reading)
  if (odd) report(reading, odd)
  return result
}

/** A network stands on both sides, of one size, with full=1 in an IN rule. */
function checkNetworks({ result, around }: Reading): Diagnostic | undefined {
  const { endpoint: { network } = {}, to, full, places } = result
  const inner = to && to.lo < to.hi ? to : undefined
  if (!network && !inner) return undefined
  const place = (network ? places.address : places.to) ?? places.all
  const wrong = (what: string, advice = 'write'): Diagnostic => {
    const [at, length] = network ? [formatRange(network), prefixLength(network)] : ['NETWORK', 'LENGTH']
    const help = `${advice} NAT ${at} full=1 to=INNER_NETWORK/${length}`
    return diagnose('network-form', place, { what, help })
  }
  if (around.direction === 'out')
    return wrong('an OUT rule takes one address, not a network', 'make it an IN rule without destination:')
  if (!network) return wrong(`to= names a network, ${formatRange(inner as Range)}, and the endpoint is none`)
  if (!full) return wrong('ports are forwarded at single addresses; a network is mapped as a whole')
  if (!inner) return wrong('to= names the inner network')
  if (network.family !== inner.family || !sameSize(network, inner))
    return wrong(`${formatRange(network)} and ${formatRange(inner)} are not of one family and size`)
  return undefined
}

function report({ result }: Reading, problem: Diagnostic): void {
  result.problems.push(problem)
}

function takeEndpoint(reading: Reading, words: Word[]): Word[] {
  const { around, result, at } = reading
  const first = words[0]
  if (!first) return words
  const endpoint = parseEndpoint(first.text)
  if (typeof endpoint === 'string') {
    const advice = adviseOn(reading, words, findSigns(spelledPlainly(words), around.isInterface, true))
    report(reading, diagnose('endpoint-invalid', at(first), { word: first.text, why: endpoint, ...advice }))
    return []
  }
  if (!endpoint) return words
  const { address, ports, network } = endpoint
  if (around.direction === 'out' && (ports ?? endpoint.kind === 'auto')) {
    const meant = renderComment({ address: address && formatRange(address), options: [] })
    report(reading, diagnose('endpoint-direction', at(first), { word: first.text, meant }))
    return []
  }
  if (address?.lo === 0n) {
    const meant = renderComment({ ports: ports && formatPorts(ports), options: [] })
    report(reading, diagnose('endpoint-any', at(first), { word: first.text, meant }))
    return []
  }
  result.endpoint = endpoint
  result.places.endpoint = at(first)
  const colon = first.text.startsWith('[') ? first.text.indexOf(']') + 1 : first.text.indexOf(':')
  const split = address && ports ? colon : undefined
  if (ports) result.places.ports = at(first, split === undefined ? 0 : split + 1)
  if (address ?? network) result.places.address = at(first, 0, split)
  return words.slice(1)
}

/** Returns whether the name is known. */
function takeOption(reading: Reading, name: string, value: string, word: Word): boolean {
  const { comment, result, around, at } = reading
  const place = at(word)
  if (!isOption(name)) {
    const near = nearest(name, Object.keys(OPTIONS))
    const [head, rest] = [headOf(reading), comment.slice(word.at).trimEnd()]
    const meant = near && `${head} ${near}${rest.slice(name.length)}`
    report(
      reading,
      diagnose('option-unknown', place, { word: word.text, meant, asText: `${head} - ${rest}` }),
    )
    return false
  }
  const { directions, expected, set } = OPTIONS[name]
  if (!directions.includes(around.direction))
    report(
      reading,
      diagnose('option-direction', place, { option: name, direction: around.direction.toUpperCase() }),
    )
  else if (result.places[name]) report(reading, diagnose('option-twice', place, { option: name }))
  else if (!set(result, value)) {
    const signs = findSigns([{ ...word, text: value }], around.isInterface)
    const inside: Found[] = name === 'to' ? [{ kind: 'inside', index: 0 }, ...signs] : []
    const meant = name === 'to' && signs.length > 0 ? checked(reading, inside) : undefined
    report(reading, diagnose('option-value', place, { word: word.text, expected, meant }))
  } else result.options.push(word.text)
  result.places[name] = place
  return true
}

/** A comment as it was understood, to be written anew. */
export function partsOf({ endpoint, options }: Pick<NatComment, 'endpoint' | 'options'>): Parts {
  const { ports, kind } = endpoint ?? {}
  const address = endpoint?.address ?? endpoint?.network
  return {
    address: address && formatRange(address),
    ports: ports && formatPorts(ports),
    word: kind === 'none' || kind === 'auto' ? kind : undefined,
    options,
  }
}

function headOf(reading: Reading): string {
  return renderComment(partsOf(reading.result))
}

/** The comment that these signs would make; undefined when it would have problems. */
function checked(reading: Reading, signs: readonly Found[]): string | undefined {
  const { around, advises, result } = reading
  if (!advises) return undefined
  const meant = meantComment(partsOf(reading.result), signs, around.direction)
  if (meant === undefined || meant === 'NAT') return undefined
  return parse(meant, result.places.all, around, false).problems.length === 0 ? meant : undefined
}

/** The comment that was perhaps meant, and the comment that marks these words as text. */
function adviseOn(
  reading: Reading,
  words: readonly Word[],
  signs: readonly Found[],
): { meant: string | undefined; asText: string } {
  const text = words.map((word) => word.text).join(' ')
  return { meant: checked(reading, signs), asText: `${headOf(reading)} - ${text}` }
}

/**
 * Reports free text that looks like grammar. In a comment without ports every word counts and is an error. In a complete comment only the next
 * word counts; it is an error when it contradicts the endpoint.
 */
function checkText(reading: Reading, unknown: readonly Word[], rest: readonly Word[]): void {
  const { around, result, at } = reading
  const dash = rest.findIndex(({ text }) => text === '-')
  const text = dash < 0 ? rest : rest.slice(0, dash)
  if (text[0] && !result.endpoint) {
    const late = parseEndpoint(text[0].text)
    if (typeof late === 'object' && result.problems.length === 0) {
      const meant = checked(reading, findSigns(text.slice(0, 1), around.isInterface))
      return report(reading, diagnose('endpoint-late', at(text[0]), { word: text[0].text, meant }))
    }
  }
  const words = isComplete(reading) ? nextWords(text) : [...unknown, ...text]
  const next = nextWords(text).length
  // Behind an address an interface adds nothing: the address says where packets come in.
  const isIdle = ({ kind, index }: Found): boolean =>
    result.endpoint !== undefined && kind === 'interface' && index >= unknown.length + next
  const signs = findSigns(words, around.isInterface).filter((sign) => !isIdle(sign))
  const told = signs.find(isTelling)
  const word = told && words[told.index]
  if (!word) return
  const place = at(word)
  const said = words.slice(0, told.index + 1).map((one) => one.text)
  const advice = adviseOn(reading, [...unknown, ...rest], signs)
  if (!isComplete(reading)) {
    result.problems = result.problems.filter(({ code }) => code !== 'option-unknown')
    const inner = around.inner()
    const would = around.direction === 'out' ? 'let it out' : inner === '' ? 'forward' : `forward ${inner}`
    return report(reading, diagnose('text-grammar', place, { text: said.join(' '), would, ...advice }))
  }
  const isTurned = turnsRound(signs, around)
  report(
    reading,
    diagnose(isTurned ? 'text-against' : 'text-ignored', place, { text: said.join(' '), ...advice }),
  )
}

/** Whether the comment says at which ports or as which address. */
function isComplete({ around, result: { endpoint, full } }: Reading): boolean {
  if (!endpoint) return false
  return endpoint.kind !== 'value' || endpoint.ports !== undefined || full || around.direction === 'out'
}

/** The next word, with the one behind it when it is `to`, an arrow or other punctuation. */
function nextWords(text: readonly Word[]): Word[] {
  const isLink = /^(?:to|[^\p{L}\p{N}]+)$/iu.test(text[0]?.text ?? '')
  return text.slice(0, isLink ? 2 : 1)
}

/** Whether the text contradicts the endpoint: an address, an interface, `none`, or another inner port. */
function turnsRound(signs: readonly Found[], around: Around): boolean {
  return signs.some(
    (sign, i) =>
      ['address', 'interface', 'none'].includes(sign.kind) ||
      (sign.kind === 'port' && signs[i - 1]?.kind === 'inside' && sign.text !== around.inner()),
  )
}

/** Reports options that stand in the free text. */
function checkOptionsInText(reading: Reading, text: readonly Word[]): void {
  const { result, at } = reading
  if (text[0]?.text === '-' || result.problems.some(({ code }) => code === 'text-grammar')) return
  for (const word of text) {
    const option = OPTION.exec(word.text)
    if (!option || !isOption(option[1] as string)) continue
    const { endpoint } = result
    const meant =
      endpoint && checked({ ...reading, result: { ...result, options: [...result.options, word.text] } }, [])
    report(reading, diagnose('option-in-text', at(word), { word: word.text, meant }))
  }
}
