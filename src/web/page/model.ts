/** The rules as the page words, searches and sorts them. Pure: no document here. */
import { formatPorts } from '../../ports.ts'
import type { PageRow } from '../view.ts'

/** What the strip counts and filters by. */
export const GROUPS = ['errors', 'working', 'pending', 'off'] as const
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

/** A rule with its texts. */
export interface Item {
  id: string
  row: PageRow
  group: Group
  /** Of the state. */
  word: string
  /** `203.0.113.7:2222`. */
  external: string
  /** `10.10.10.105:22`, or what becomes of the packets. */
  target: string
  /** `105 web`; '' for rules of the node or datacenter. */
  guest: string
  /** From where connections may come. */
  source: string
  /** The comment without its NAT. */
  comment: string
  /** `105.fw:14`. */
  rule: string
  /** All that can be searched, in lower case. */
  text: string
}

export function toItem(row: PageRow): Item {
  const { file, line, guest, state } = row
  const [word, group] = STATES[state]
  const texts = {
    external: externalOf(row),
    target: targetOf(row),
    guest: guest ? `${guest.vmid} ${guest.name}` : '',
    source: row.source || (row.kind !== 'egress' ? 'anywhere' : guest ? 'the guest' : 'all inside'),
    comment: row.comment.replace(/^NAT\b:?\s*/, ''),
    rule: `${file.slice(file.lastIndexOf('/') + 1)}:${line}`,
  }
  const words = [
    word,
    group,
    row.kind,
    row.proto.join(' '),
    ...Object.values(texts),
    row.via ?? '',
    row.reason,
  ]
  return { id: row.id, row, group, word, ...texts, text: words.join(' ').toLowerCase() }
}

/** `[2001:db8::7]:2222`; without an address `:2222`. */
export function endpoint(address: string, ports: PageRow['external']['ports']): string {
  if (!ports) return address
  return `${address.includes(':') ? `[${address}]` : address}:${formatPorts(ports)}`
}

function externalOf({ external, kind }: PageRow): string {
  const address = external.addresses === 'any' ? '' : external.addresses.join(', ')
  const text = endpoint(address, external.ports)
  if (kind === 'forward') return text || 'any address'
  return [external.interface, text].filter(Boolean).join(' ') || 'any uplink'
}

function targetOf({ kind, inner, external }: PageRow): string {
  if (kind === 'block') return 'blocked'
  if (kind === 'exempt') return 'not translated'
  if (kind === 'egress') return external.addresses === 'any' ? 'masquerade' : 'SNAT'
  return endpoint(inner.address ?? '?', inner.ports)
}

/** Rules that hold every word of the query; a number is also found inside a range of external ports. */
export function filterItems(items: readonly Item[], query: string, group: Group | undefined): Item[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  return items.filter(
    (item) =>
      (group === undefined || item.group === group) &&
      words.every((word) => item.text.includes(word) || holdsPort(item.row, word)),
  )
}

function holdsPort({ external }: PageRow, word: string): boolean {
  if (!/^\d{1,5}$/.test(word)) return false
  return (external.ports ?? []).some(([lo, hi]) => lo <= Number(word) && Number(word) <= hi)
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

/** Sorted copy; equal rules stay in the order of the files. */
export function sortItems(
  items: readonly Item[],
  by: Column,
  down: boolean,
  hour: (id: string) => number,
): Item[] {
  const collator = new Intl.Collator('en', { numeric: true })
  const compare = (a: Item, b: Item): number => {
    if (by === 'state') return ORDER.indexOf(a.row.state) - ORDER.indexOf(b.row.state)
    return by === 'hour' ? hour(b.id) - hour(a.id) : collator.compare(a[by], b[by])
  }
  return [...items].sort((a, b) => (down ? -compare(a, b) : compare(a, b)))
}

/** A spreadsheet takes a cell that begins with one of these for a formula. */
const cell = (text: string | number): string =>
  `"${String(text)
    .replace(/^[=+\-@\t\r]/, "'$&")
    .replaceAll('"', '""')}"`

/** The rules as CSV (RFC 4180). */
export function toCsv(items: readonly Item[], hour: (id: string) => number): string {
  const columns = Object.keys(COLUMNS) as Column[]
  const lines = items.map((item) =>
    columns.map((key) => (key === 'hour' ? hour(item.id) : key === 'state' ? item.word : item[key])),
  )
  return [Object.values(COLUMNS), ...lines].map((line) => `${line.map(cell).join(',')}\r\n`).join('')
}

/** `5 s`, `5 min`, `3 h`, `2 days`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 100) return `${seconds} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`
}

/** 1234567 → 1.2 M. */
export function short(count: number): string {
  if (count < 10_000) return String(count)
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} k` : `${(count / 1e6).toFixed(1)} M`
}

export function groupBy<T>(list: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const one of list) {
    const group = groups.get(keyOf(one))
    if (group) group.push(one)
    else groups.set(keyOf(one), [one])
  }
  return groups
}
