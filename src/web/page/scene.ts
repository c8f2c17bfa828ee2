/** Which boxes and lines the picture has, before anybody says where: targets, bridges, and lines, each one rule or a bundle. Pure. */
import { isBad, STATES, type Item, type State } from './model.ts'

export interface Line {
  /** Of the rule, or of the bundle. */
  id: string
  items: Item[]
  /** Keys of its stations, from the internet on. */
  address: string
  bridge: string
  target: string
  state: State
  /** Which way connections are begun. */
  way: 'in' | 'out'
  label: string
}

interface Target {
  key: string
  title: string
  bridge: string
  lines: Line[]
  /** How many rules lead to it, bundled or not. */
  count: number
}

export interface Scene {
  addresses: { key: string; title: string; note: string }[]
  bridges: { key: string; title: string; note: string }[]
  targets: Target[]
  /** Rules of targets that there was no room for. */
  hidden: { targets: number; rules: number }
}

export interface SceneInput {
  external: readonly { interface: string; addresses: readonly string[] }[]
  internal: readonly { interface: string; network: string }[]
  items: readonly Item[]
  hour: (id: string) => number
  /** The target whose rules are all shown, and the rule that must be seen. */
  expanded: string | undefined
  selected: string | undefined
}

const ANY = 'any'
const NOWHERE = '-'
const MAX_TARGETS = 8
const MAX_ADDRESSES = 8
/** More than this are bundled, of one target and of all. */
const MAX_OF_TARGET = 6
const MAX_LINES = 30
const MAX_EXPANDED = 24

export function makeScene(input: SceneInput): Scene {
  const drawn = input.items.filter(({ row }) => row.kind === 'forward' || row.kind === 'egress')
  const groups = groupBy(drawn, targetKey)
  const chosen = choose(groups, input)
  const total = chosen.reduce((sum, [, items]) => sum + items.length, 0)
  const known = new Set(input.external.flatMap(({ addresses }) => addresses).slice(0, MAX_ADDRESSES))
  const targets = chosen.map(([key, items]) => toTarget(key, items, total, known, input))
  const used = new Set(targets.flatMap(({ lines }) => lines.map(({ address }) => address)))
  return {
    addresses: addressesOf(input, used, known),
    bridges: bridgesOf(input, targets),
    targets,
    hidden: { targets: groups.size - chosen.length, rules: drawn.length - total },
  }
}

function targetKey({ row }: Item): string {
  if (row.guest) return `guest ${row.guest.vmid}`
  return row.kind === 'forward' ? `host ${row.inner.address ?? '?'}` : `net ${row.source}`
}

/** Whatever is wrong or busy is seen; then in the order of bridges and numbers, so that boxes keep their places. */
function choose(groups: Map<string, Item[]>, { hour, expanded, selected }: SceneInput): [string, Item[]][] {
  const weigh = (key: string, items: Item[]): number => {
    if (key === expanded || items.some(({ id }) => id === selected)) return Infinity
    const bad = items.some(({ row }) => isBad(row.state)) ? 1e9 : 0
    return bad + items.reduce((sum, { id }) => sum + hour(id), 0)
  }
  const weighed = [...groups].map(([key, items], at) => ({ key, items, at, weight: weigh(key, items) }))
  weighed.sort((a, b) => (b.weight === a.weight ? a.at - b.at : b.weight - a.weight))
  return weighed
    .slice(0, MAX_TARGETS)
    .sort((a, b) => bridgeOf(a.items).localeCompare(bridgeOf(b.items)) || number(a.key) - number(b.key))
    .map(({ key, items }) => [key, items])
}

const number = (key: string): number => Number(/^guest (\d+)/.exec(key)?.[1] ?? 0)
const bridgeOf = (items: readonly Item[]): string => items.find(({ row }) => row.via)?.row.via ?? NOWHERE

function toTarget(
  key: string,
  items: Item[],
  total: number,
  known: ReadonlySet<string>,
  { expanded, selected }: SceneInput,
): Target {
  const bridge = bridgeOf(items)
  const line = (some: Item[], id: string, label: string): Line => ({
    id,
    items: some,
    target: key,
    label,
    bridge,
    address: addressOf(some[0] as Item, known),
    state: worst(some),
    way: (some[0] as Item).row.kind === 'forward' ? 'in' : 'out',
  })
  const single = (item: Item): Line => line([item], item.id, labelOf(item))
  const isWhole = key === expanded || (items.length <= MAX_OF_TARGET && total <= MAX_LINES)
  const ones = isWhole ? items.slice(0, MAX_EXPANDED) : items.filter(({ id }) => id === selected)
  const rest = items.filter((item) => !ones.includes(item))
  const bundles = [
    ...groupBy(rest, (item) => `${item.row.kind} ${addressOf(item, known)} ${isBad(item.row.state)}`),
  ]
  return {
    key,
    title: titleOf(items[0] as Item),
    bridge,
    count: items.length,
    lines: [
      ...ones.map(single),
      ...bundles.map(([what, some]) =>
        some.length === 1 ? single(some[0] as Item) : line(some, `${key} ${what}`, bundleLabel(some)),
      ),
    ],
  }
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

function titleOf({ row, guest }: Item): string {
  if (row.guest) return guest
  return row.kind === 'forward' ? (row.inner.address ?? '?') : row.source || 'all internal networks'
}

function labelOf(item: Item): string {
  const { row } = item
  if (row.kind === 'egress') return row.external.addresses === 'any' ? 'out, masqueraded' : 'out'
  const outside = row.external.ports ? item.outside.replace(/ .*:/, ' ') : item.outside
  const inside = row.inner.ports ? `:${item.inside.slice(item.inside.lastIndexOf(':') + 1)}` : ''
  return `${outside}${inside === '' ? '' : ` → ${inside}`}`
}

function bundleLabel(items: readonly Item[]): string {
  const first = items[0]?.row
  const what = first?.kind === 'egress' ? 'ways out' : 'forwards'
  return `${items.length} ${what}${first && isBad(first.state) ? ', not in force' : ''}`
}

function worst(items: readonly Item[]): State {
  // An inactive rule is nobody's trouble: a bundle is inactive only when all of it is.
  return STATES.find((state) => items.some(({ row }) => row.state === state)) ?? 'inactive'
}

function addressOf({ row }: Item, known: ReadonlySet<string>): string {
  const first = row.external.addresses === 'any' ? undefined : row.external.addresses[0]
  if (first !== undefined) return known.has(first) ? first : ANY
  const family = [...known].filter((one) => row.family.includes(one.includes(':') ? 6 : 4))
  return family.length === 1 ? (family[0] as string) : ANY
}

function addressesOf(
  { external }: SceneInput,
  used: ReadonlySet<string>,
  known: ReadonlySet<string>,
): Scene['addresses'] {
  const own = external.flatMap((one) =>
    one.addresses
      .filter((address) => known.has(address))
      .map((address) => ({ key: address, title: address, note: one.interface })),
  )
  const any = { key: ANY, title: own.length > 0 ? 'any address' : 'no address', note: 'of this node' }
  return used.has(ANY) || own.length === 0 ? [any, ...own] : own
}

function bridgesOf({ internal }: SceneInput, targets: readonly Target[]): Scene['bridges'] {
  const used = [...new Set(targets.map(({ bridge }) => bridge))]
  const names = [...new Set([...internal.map((one) => one.interface), ...used])]
  return names
    .filter((name) => used.includes(name) || names.length <= 4)
    .map((key) => ({
      key,
      title: key === NOWHERE ? 'inside' : key,
      note: internal.find((one) => one.interface === key)?.network ?? '',
    }))
}
