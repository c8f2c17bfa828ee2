/** The rules as the page searches, sorts and words them. Pure: no document here. */
import { formatPorts } from '../../ports.ts'
import type { PageRow } from '../view.ts'

export type State = PageRow['state']
export type Kind = PageRow['kind']

/** In this order in the list: what is wrong comes first. */
export const STATES: readonly State[] = [
  'error',
  'quarantined',
  'conflict',
  'partial',
  'pending',
  'active',
  'inactive',
]
export const KINDS: readonly Kind[] = ['forward', 'egress', 'exempt', 'block']

export const KIND_NAMES: Readonly<Record<Kind, string>> = {
  forward: 'forwards',
  egress: 'ways out',
  exempt: 'exemptions',
  block: 'blocks',
}

/** A rule with its texts. */
export interface Item {
  id: string
  row: PageRow
  /** `tcp 203.0.113.7:2222`. */
  outside: string
  /** `10.10.10.105:22`, or what becomes of the packets. */
  inside: string
  /** `105 web`; '' for rules of the node or datacenter. */
  guest: string
  /** From where connections may come. */
  source: string
  /** `105.fw:14`. */
  where: string
  /** All that can be searched, in lower case. */
  text: string
}

export function toItem(row: PageRow): Item {
  const { kind, guest, file, line, external } = row
  const outside = outsideOf(row)
  const inside = insideOf(row)
  const owner = guest ? `${guest.vmid} ${guest.name}` : ''
  const where = `${file.slice(file.lastIndexOf('/') + 1)}:${line}`
  const words = [row.state, KIND_NAMES[kind], outside, inside, owner, row.source, where]
  return {
    id: row.id,
    row,
    outside,
    inside,
    guest: owner,
    source: sourceOf(row),
    where,
    text: [...words, external.interface ?? '', row.comment, row.reason].join(' ').toLowerCase(),
  }
}

function outsideOf({ kind, proto, external }: PageRow): string {
  const address = external.addresses === 'any' ? '' : external.addresses.join(', ')
  if (kind !== 'forward') return [external.interface ?? '', address].filter(Boolean).join(' ') || 'outside'
  const ports = external.ports ? `:${formatPorts(external.ports)}` : ''
  const place = `${external.ports && address.includes(':') ? `[${address}]` : address}${ports}`
  return [proto.join('+'), place || 'any address'].filter(Boolean).join(' ')
}

function sourceOf({ source, kind, guest }: PageRow): string {
  if (source !== '') return source
  if (kind === 'forward' || kind === 'block') return 'anywhere'
  return guest ? 'the guest' : 'all inside'
}

function insideOf({ kind, inner, external }: PageRow): string {
  if (kind === 'block') return 'blocked'
  if (kind === 'exempt') return 'not translated'
  if (kind === 'egress') return external.addresses === 'any' ? 'masquerade' : 'leaves as that address'
  const address = inner.address ?? '?'
  if (!inner.ports) return address
  return `${address.includes(':') ? `[${address}]` : address}:${formatPorts(inner.ports)}`
}

export interface Filter {
  query: string
  /** Empty: all. */
  states: ReadonlySet<State>
  kinds: ReadonlySet<Kind>
}

/** Those that hold every word of the query; a number is also found inside a range of external ports. */
export function filterItems(items: readonly Item[], { query, states, kinds }: Filter): Item[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  return items.filter(
    ({ row, text }) =>
      (states.size === 0 || states.has(row.state)) &&
      (kinds.size === 0 || kinds.has(row.kind)) &&
      words.every((word) => text.includes(word) || holdsPort(row, word)),
  )
}

function holdsPort({ external }: PageRow, word: string): boolean {
  if (!/^\d{1,5}$/.test(word)) return false
  return (external.ports ?? []).some(([lo, hi]) => lo <= Number(word) && Number(word) <= hi)
}

export type SortKey = 'state' | 'outside' | 'guest' | 'hour'
export interface Order {
  key: SortKey
  down: boolean
}

/** Sorted copy. What is equal stays in the order of the files. */
export function sortItems(
  items: readonly Item[],
  { key, down }: Order,
  hour: (id: string) => number,
): Item[] {
  const value: Record<SortKey, (item: Item) => number> = {
    state: ({ row }) => STATES.indexOf(row.state),
    outside: ({ row }) => row.external.ports?.[0]?.[0] ?? 0,
    guest: ({ row }) => row.guest?.vmid ?? 0,
    hour: ({ id }) => -hour(id),
  }
  const of = value[key]
  const sign = down ? -1 : 1
  return items
    .map((item, at) => ({ item, at, by: of(item) }))
    .sort((a, b) => sign * (a.by - b.by) || a.at - b.at)
    .map(({ item }) => item)
}

/** A service that says nothing for so long is not there; it speaks every ten seconds. */
export const SILENT_MS = 30_000

export function isBad(state: State): boolean {
  return state === 'error' || state === 'conflict' || state === 'quarantined'
}

/** `just now`, `5 min`, `3 h`, `2 days`. */
export function span(ms: number): string {
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 1) return 'less than a minute'
  if (minutes < 120) return `${minutes} min`
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`
}

/** 1234567 → 1.2 M. */
export function short(count: number): string {
  if (count < 10_000) return String(count)
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} k` : `${(count / 1e6).toFixed(1)} M`
}
