/**
 * Free text that looks like grammar. A person who writes `NAT port 9090` means port 9090; so such text is told, and in place of
 * an endpoint it is an error. docs/man/pvenat-comments.7.md holds the table of what counts.
 */
import { formatRange, isPrivate, parseIp, type Range } from '../address.ts'
import type { Word } from './words.ts'

/** A part of a word that looks like grammar. */
type Sign =
  | { kind: 'port'; text: string }
  | { kind: 'address'; address: Range | undefined; isNetwork: boolean }
  | { kind: 'interface'; name: string }
  | { kind: 'flag'; name: string }
  | { kind: 'none' }
  /** `to`, `->`: what follows is inside. It counts only before an address or a port. */
  | { kind: 'inside' }

/** A sign, and which word it stands in. */
export type Found = Sign & { index: number }

const EDGE_BEFORE = '(?<![\\p{L}\\p{N}_])'
const EDGE_AFTER = '(?![\\p{L}\\p{N}_])'
const INTERFACE = /^(?:vmbr|bond|eth|en[opsx]|wlan|wlp|wg|tun|tap|veth|ppp|vlan|vxlan|br|net|lo)\d[\w.]*$/i
const FLAGS = ['snat', 'full', 'hairpin']

/** Whether this node has an interface of that name. */
export type IsInterface = (name: string) => boolean

/** Reads one kind of sign out of a word; what it took is gone for the kinds after it. */
type Reader = [pattern: RegExp, read: (match: RegExpExecArray, isInterface: IsInterface) => Sign | undefined]

const ADDRESS: Reader[] = [
  [
    /(?<![\p{L}\p{N}_]|\p{N}\.)(\d+(?:\.\d+){3})(\/\d+)?(?![\p{L}\p{N}_])/gu,
    ([, ip = '', length]) => ({ kind: 'address', address: parseIp(ip), isNetwork: length !== undefined }),
  ],
  [
    /(?<![\p{L}\p{N}_:]|\p{N}\.)(?=[0-9a-f:]*[0-9a-f])((?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4})(\/\d+)?(?![\p{L}\p{N}_:])/giu,
    ([, ip = '', length]) => {
      const address = parseIp(ip)
      return address && { kind: 'address', address, isNetwork: length !== undefined }
    },
  ],
]
const NAMES: Reader[] = [
  [
    new RegExp(`${EDGE_BEFORE}[\\p{L}_][\\p{L}\\p{N}_.-]*`, 'gu'),
    ([word], isInterface) => {
      const name = word.replace(/[.-]+$/, '')
      return isInterface(name) || INTERFACE.test(name) ? { kind: 'interface', name } : undefined
    },
  ],
]
const INSIDE: Reader[] = [[/(?:-|=)*[>→⇒]/gu, () => ({ kind: 'inside' })]]
const readPort: Reader[1] = ([text]) => ({ kind: 'port', text })
/** `/29` is the length of a network, not a port. */
const LENGTH = '(?<![\\p{L}\\p{N}_]/)(?<=/)(?:\\d\\d|1[01]\\d|12[0-8])'
const PORT: Reader[] = [
  [new RegExp(`${EDGE_BEFORE}(?!${LENGTH}${EDGE_AFTER})\\d{2,5}(?:-\\d{2,5})?${EDGE_AFTER}`, 'gu'), readPort],
]
/** Of a first word that begins like an endpoint digits count wherever they stand. */
const ANY_PORT: Reader[] = [[/(?<!\d)\d{2,5}(?:-\d{2,5})?(?!\d)/gu, readPort]]

/** What of these words looks like grammar, in their order. `isLoose`: digits count next to letters, too. */
export function findSigns(words: readonly Word[], isInterface: IsInterface, isLoose = false): Found[] {
  const readers = [...ADDRESS, ...NAMES, ...INSIDE, ...(isLoose ? ANY_PORT : PORT)]
  return words.flatMap((word, index) =>
    (wholeWord(word.text) ?? partsOf(word.text, readers, isInterface)).map((sign) => ({ ...sign, index })),
  )
}

/** Full-width signs are read as the plain ones that they look like. */
export function plain(text: string): string {
  return text.normalize('NFKC')
}

/** A word that is a sign as a whole, whatever punctuation is around it. */
function wholeWord(text: string): Sign[] | undefined {
  const word = plain(text)
    .replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, '')
    .toLowerCase()
  if (FLAGS.includes(word)) return [{ kind: 'flag', name: word }]
  if (word === 'none' || word === 'off') return [{ kind: 'none' }]
  return word === 'to' ? [{ kind: 'inside' }] : undefined
}

function partsOf(text: string, readers: readonly Reader[], isInterface: IsInterface): Sign[] {
  let rest = plain(text)
  const found: { at: number; sign: Sign }[] = []
  for (const [pattern, read] of readers) {
    for (const match of rest.matchAll(pattern)) {
      const sign = read(match, isInterface)
      if (!sign) continue
      found.push({ at: match.index, sign })
      // As long as before, and nothing that could be a part of a sign.
      rest =
        rest.slice(0, match.index) + ' '.repeat(match[0].length) + rest.slice(match.index + match[0].length)
    }
  }
  return found.sort((a, b) => a.at - b.at).map(({ sign }) => sign)
}

/** Whether it tells on its own that grammar was meant. */
export function isTelling({ kind }: Sign): boolean {
  return kind !== 'inside'
}

/** The parts of a comment, as far as they are known to be meant. */
export interface Parts {
  /** As in the comment. */
  address?: string | undefined
  ports?: string | undefined
  /** The word in place of address and ports. */
  word?: 'none' | 'auto' | undefined
  /** `name=value`, as they stand in the comment. */
  options: readonly string[]
}

/** The comment that these signs and the parts that were understood would make; undefined when nobody can tell. */
export function meantComment(
  known: Parts,
  signs: readonly Found[],
  direction: 'in' | 'out',
): string | undefined {
  const parts = { ...known, options: [...known.options] }
  const ports: (Found & { kind: 'port' })[] = []
  const hasOuter = (found: readonly unknown[]): boolean => found.length > 0 || known.ports !== undefined
  let isInside = false
  for (const sign of signs) {
    if (sign.kind === 'none') return 'NAT none'
    if (sign.kind === 'inside') isInside = true
    else if (sign.kind === 'interface') addOption(parts.options, 'if', sign.name)
    else if (sign.kind === 'flag' && sign.name === 'full' && parts.address === undefined) return undefined
    else if (sign.kind === 'flag') addOption(parts.options, sign.name, sign.name === 'hairpin' ? '0' : '1')
    else if (sign.kind === 'address') {
      if (!sign.address || sign.isNetwork || known.word === 'auto') return undefined
      addAddress(parts, sign.address, isInside, direction)
    } else if (!(isInside && hasOuter(ports)) && joins(ports, sign)) ports.push(sign)
  }
  if (direction === 'in' && ports.length > 0)
    parts.ports = [...new Set([parts.ports ?? [], ports.map(({ text }) => text)].flat())].join()
  return renderComment(parts)
}

export function renderComment({ address, ports, word, options }: Parts): string {
  const at = address?.includes(':') && ports !== undefined ? `[${address}]` : address
  const named = [at, ports].filter((part) => part !== undefined).join(':')
  const endpoint = word === 'none' ? word : named || (word ?? '')
  return ['NAT', ...(endpoint === '' ? [] : [endpoint]), ...options].join(' ')
}

/** Ports that stand side by side are a list; others belong to some other thought. */
function joins(ports: readonly { index: number }[], { index }: { index: number }): boolean {
  const last = ports.at(-1)
  return last === undefined || index - last.index <= 1
}

function addAddress(
  parts: Parts & { options: string[] },
  address: Range,
  isInside: boolean,
  direction: 'in' | 'out',
): void {
  // 0.0.0.0 and :: mean every address, which needs no word.
  if (address.lo === 0n) return
  const text = formatRange(address)
  if (direction === 'in' && (isInside || isPrivate(address))) addOption(parts.options, 'to', text)
  else parts.address ??= text
}

function addOption(options: string[], name: string, value: string): void {
  if (!options.some((one) => one.startsWith(`${name}=`))) options.push(`${name}=${value}`)
}
