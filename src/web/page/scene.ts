/** The lines of the map: one for each rule while a screen holds them, else one for each guest at an address. Pure. */
import type { PageRow } from '../view.ts'
import { groupBy, type Item } from './model.ts'

/** A path from an external address over a bridge to a guest. */
export interface Line {
  id: string
  items: readonly Item[]
  /** Address, bridge and guest. */
  stations: readonly [string, string, string]
  /** At its ends: `:2222/tcp` and `:22`, or how many rules it stands for. */
  labels: readonly [string, string]
  isBad: boolean
  isOut: boolean
}

/** As many as a screen holds below each other. */
export const MAX_LINES = 30

export function makeLines(items: readonly Item[], hour: (id: string) => number): Line[] {
  const drawn = items.filter(({ row }) => row.kind === 'forward' || row.kind === 'egress')
  if (drawn.length <= MAX_LINES) return sorted(drawn.map((item) => lineOf([item])))
  const bundles = bundle(drawn, ({ row, group }) => `${group === 'errors'} ${stationsOf(row).join(' ')}`)
  const weight = ({ items: some, isBad }: Line): number =>
    some.reduce((sum, { id }) => sum + hour(id), isBad ? 1e9 : 0)
  const byWeight = [...bundles].sort((a, b) => weight(b) - weight(a))
  const rest = byWeight.slice(MAX_LINES).flatMap((line) => line.items)
  const others = bundle(rest, ({ row }) => row.via ?? '').map((line): Line => {
    const guests = new Set(line.items.map(({ row }) => stationsOf(row)[2])).size
    const [, bridge] = line.stations
    return { ...line, stations: ['other addresses', bridge, `${guests} more of ${bridge}`] }
  })
  return [...sorted(byWeight.slice(0, MAX_LINES)), ...others]
}

const bundle = (items: readonly Item[], keyOf: (item: Item) => string): Line[] =>
  [...groupBy(items, keyOf).values()].map(lineOf)

function lineOf(items: readonly Item[]): Line {
  const [first, ...others] = items as [Item, ...Item[]]
  const isOut = items.every(({ row }) => row.kind === 'egress')
  const port = (text: string): string => (/:[^:\]]+$/.exec(text) ?? [''])[0]
  const ends: Line['labels'] = isOut ? ['out', ''] : [port(first.external), port(first.target)]
  return {
    id: first.id,
    items,
    stations: stationsOf(first.row),
    isOut,
    labels: others.length > 0 ? [`${items.length} rules`, ''] : ends,
    isBad: items.some(({ group }) => group === 'errors'),
  }
}

function stationsOf({ external, via, guest, inner, source }: PageRow): Line['stations'] {
  const { addresses, interface: name } = external
  const address = addresses === 'any' ? (name ?? 'any address') : addresses.join(', ')
  const inside = guest ? `${guest.vmid} ${guest.name}` : inner.address || source || 'all inside'
  return [address, via ?? 'no bridge', inside]
}

/** By bridge, then guest, so that few lines cross. */
function sorted(lines: readonly Line[]): Line[] {
  const { compare } = new Intl.Collator('en', { numeric: true })
  const key = ({ stations: [address, bridge, guest] }: Line): string => `${bridge} ${guest} ${address}`
  return [...lines].sort((a, b) => compare(key(a), key(b)))
}
