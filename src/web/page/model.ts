/** The rules as the page words, searches and sorts them. Pure: no document here. */
import { externalCell, guestCell, innerCell } from '../../show/cells.ts'
import type { PageRow } from '../view.ts'

/** What the strip counts and filters by. */
export const GROUPS = ['working', 'pending', 'off', 'errors'] as const
export type Group = (typeof GROUPS)[number]

/** The word for each state, what is wrong first, and the group that it counts in. */
const STATES: Readonly<Record<PageRow['state'], readonly [word: string, group: Group]>> = {
  error: ['error', 'errors'],
  quarantined: ['refused', 'errors'],
  conflict: ['conflict', 'errors'],
  partial: ['partly', 'errors'],
  pending: ['pending', 'pending'],
  active: ['working', 'working'],
  inactive: ['off', 'off'],
}
const ORDER = Object.keys(STATES)

/** A rule with its texts. `text`: all that can be searched, in lower case. */
export interface Item extends ReturnType<typeof textsOf> {
  id: string
  row: PageRow
  group: Group
  text: string
}

export function toItem(row: PageRow): Item {
  const [, group] = STATES[row.state]
  const texts = textsOf(row)
  const words = [...Object.values(texts), group, row.kind, ...row.proto, row.via ?? '', row.reason]
  return { id: row.id, row, group, ...texts, text: words.join(' ').toLowerCase() }
}

const textsOf = (row: PageRow) => ({
  state: STATES[row.state][0],
  /** `203.0.113.7:2222/tcp`. */
  external: externalCell(row),
  /** `10.10.10.105:22`, or what becomes of the packets. */
  target: innerCell(row),
  /** `105 web`; '-' for rules of the node or datacenter. */
  guest: guestCell(row),
  source: row.source || (row.kind !== 'egress' ? 'anywhere' : row.guest ? 'the guest' : 'all inside'),
  /** Without its NAT. */
  comment: row.comment.replace(/^NAT\b:?\s*/, ''),
  /** `105.fw:14`. */
  rule: `${row.file.slice(row.file.lastIndexOf('/') + 1)}:${row.line}`,
})

/** The words of a search. */
export const wordsOf = (query: string): string[] => query.toLowerCase().split(/\s+/).filter(Boolean)

/** Rules of a group ('': of all) that hold every word of the query; a number is also found inside a range of external ports. */
export function filterItems(items: readonly Item[], query: string, group: string): Item[] {
  const words = wordsOf(query)
  const isFound = ({ text, row: { external } }: Item, word: string): boolean =>
    text.includes(word) ||
    (external.ports?.some(([lo, hi]) => lo <= Number(word) && Number(word) <= hi) ?? false)
  const isOf = (item: Item): boolean => group === '' || item.group === group
  return items.filter((item) => isOf(item) && words.every((word) => isFound(item, word)))
}

export const COLUMNS = {
  state: 'State',
  external: 'External',
  target: 'Target',
  guest: 'Guest',
  source: 'Source',
  comment: 'Comment',
  hour: 'New connections',
  rule: 'Rule',
} as const
export type Column = keyof typeof COLUMNS
type TextColumn = Exclude<Column, 'hour'>

/** Copy in the order of a column, '' for the state; equal rules stay in the order of the files. */
export function sortItems(
  items: readonly Item[],
  by: string,
  isDown: boolean,
  hour: (id: string) => number,
): Item[] {
  const { compare } = new Intl.Collator('en', { numeric: true })
  const text = (item: Item): string => item[by as TextColumn] ?? ''
  const order = (a: Item, b: Item): number => {
    if (by === '') return ORDER.indexOf(a.row.state) - ORDER.indexOf(b.row.state)
    return by === 'hour' ? hour(b.id) - hour(a.id) : compare(text(a), text(b))
  }
  return [...items].sort((a, b) => (isDown ? -order(a, b) : order(a, b)))
}

/** A spreadsheet takes a cell that begins with one of these for a formula. */
const cell = (text: string | number): string =>
  `"${String(text)
    .replace(/^[=+\-@\t\r]/, "'$&")
    .replaceAll('"', '""')}"`

/** The rules as CSV (RFC 4180). */
export function toCsv(items: readonly Item[], hour: (id: string) => number): string {
  const keys = Object.keys(COLUMNS) as Column[]
  const lines = items.map((item) => keys.map((key) => (key === 'hour' ? hour(item.id) : item[key])))
  return [Object.values(COLUMNS), ...lines].map((line) => `${line.map(cell).join(',')}\r\n`).join('')
}

/** `5 s`, `5 min`, `3 h`, `2 days`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 100) return `${seconds} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`
}

export function groupBy<T>(list: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const one of list) {
    const key = keyOf(one)
    groups.set(key, groups.get(key) ?? [])
    groups.get(key)?.push(one)
  }
  return groups
}
