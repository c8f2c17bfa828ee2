/** The node as a picture: external addresses, bridges, guests, and the lines of rules between them. */
import { sankey, sankeyLinkHorizontal, type SankeyLink, type SankeyNode } from 'd3-sankey'
import { h, type JSX } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { groupBy } from './model.ts'
import { makeLines, type Line } from './scene.ts'
import { choose, chosen, counters, pointed, status, visible } from './store.ts'
import { small } from './ui.ts'

type Station = { key: string; title: string; note: string }
type Box = SankeyNode<Station, { line: Line }>
type Curve = SankeyLink<Station, { line: Line }>

const [LINE_PX, GAP_PX, SIDE_PX] = [22, 12, 180]
/** From here on names have room beside the lines. */
const WIDE_PX = 700

function layOut(lines: readonly Line[], width: number): { boxes: Box[]; curves: Curve[]; height: number } {
  const { external = [], internal = [] } = status.value ?? {}
  const notes = new Map([
    ...external.flatMap((one) => one.addresses.map((address): [string, string] => [address, one.interface])),
    ...internal.map((one): [string, string] => [one.interface, one.network]),
  ])
  const nodes = new Map<string, Station>()
  const links = lines.flatMap((line) => {
    const keys = line.stations.map((title, column) => {
      const key = `${column} ${title}`
      nodes.set(key, { key, title, note: notes.get(title) ?? '' })
      return key
    })
    return [0, 1].map((i) => ({ source: keys[i] ?? '', target: keys[i + 1] ?? '', value: 1, line }))
  })
  const inColumn = [0, 1, 2].map((column) => new Set(lines.map(({ stations }) => stations[column])).size)
  const height = 12 + lines.length * LINE_PX + Math.max(...inColumn) * GAP_PX
  const side = width < WIDE_PX ? 8 : SIDE_PX
  const layout = sankey<Station, { line: Line }>().nodeWidth(10).nodePadding(GAP_PX)
  // A line leaves a bridge where it came in.
  layout.nodeId(({ key }) => key).linkSort((a, b) => (a.index ?? 0) - (b.index ?? 0))
  layout.extent([[side, 12], [width - side, height - 6]]) // prettier-ignore
  const placed = layout({ nodes: [...nodes.values()], links })
  return { boxes: placed.nodes, curves: placed.links, height }
}

export function NodeMap(): JSX.Element {
  const root = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)))
    if (root.current) observer.observe(root.current)
    return () => observer.disconnect()
  }, [])
  const lines = makeLines(visible.value, (id) => counters.peek().rules[id]?.[1] ?? 0)
  const isBundled = lines.some(({ items }) => items.length > 1)
  const note =
    lines.length === 0
      ? 'No forward or way out matches.'
      : isBundled && 'A line is a guest at an address; choose it to see its rules.'
  return h(
    'div',
    { ref: root, class: 'card', onMouseLeave: () => (pointed.value = undefined) },
    width > 0 && lines.length > 0 && h(Picture, { lines, width }),
    note && h('p', { class: 'p-3' }, small(note)),
  )
}

function Picture({ lines, width }: { lines: readonly Line[]; width: number }): JSX.Element {
  const { boxes, curves, height } = layOut(lines, width)
  const isHot = ({ id, items, stations }: Line): boolean =>
    pointed.value === undefined
      ? items.some((item) => item.id === chosen.value.rule)
      : id === pointed.value || stations.some((title, column) => `${column} ${title}` === pointed.value)
  const isWide = width >= WIDE_PX
  const curvesOf = groupBy(curves, ({ line }) => line.id)
  const ways = lines.map((line) => way(line, curvesOf.get(line.id) ?? [], isHot(line)))
  const texts = isWide ? lines.map((line) => ends(line, curvesOf.get(line.id) ?? [])) : []
  const names = boxes.map((box) => name(box, isWide))
  const style = `map ${lines.some(isHot) ? 'cold' : ''}`
  return h(
    'svg',
    { width, height, class: style, role: 'group', 'aria-label': 'Map of the node' },
    ways,
    texts,
    names,
  )
}

const pathOf = sankeyLinkHorizontal<Station, { line: Line }>()

function way(line: Line, curves: readonly Curve[], isHot: boolean): JSX.Element {
  const tone = line.isBad ? '[--tone:var(--color-bad)]' : '[--tone:var(--color-brand)]'
  const point = (id: string | undefined) => () => void (pointed.value = id)
  const width = Math.min(14, 4 + 2 * Math.log2(line.items.length))
  const words = wordsOf(line)
  const attributes = {
    key: line.id,
    class: `way ${tone} ${isHot ? 'hot' : ''}`,
    role: 'button',
    tabIndex: 0,
    'aria-label': words,
    onMouseEnter: point(line.id),
    onFocus: point(line.id),
    onBlur: point(undefined),
    onClick: () => pick(line),
    onKeyDown: ({ key }: KeyboardEvent) => key === 'Enter' && pick(line),
  }
  const dashes = line.isOut ? '9 5' : undefined
  return h(
    'g',
    attributes as object,
    h('title', null, words),
    curves.map((curve) =>
      h('path', { d: pathOf(curve) ?? '', 'stroke-width': width, 'stroke-dasharray': dashes }),
    ),
  )
}

/** What stands at the ends of a line. */
function ends({ id, labels: [outer, inner] }: Line, [first, last]: readonly Curve[]): JSX.Element {
  const from = { x: ((first?.source as Box).x1 ?? 0) + 8, y: (first?.y0 ?? 0) - 5 }
  const to = { x: ((last?.target as Box).x0 ?? 0) - 8, y: (last?.y1 ?? 0) - 5, 'text-anchor': 'end' } as const
  return h('g', { key: id, class: 'ends' }, h('text', from, outer), h('text', to, inner))
}

/** A box and its name: outside of the lines where there is room, else over them. */
function name(
  { key, title, note, depth = 0, x0 = 0, x1 = 0, y0 = 0, y1 = 0 }: Box,
  isWide: boolean,
): JSX.Element {
  const side = depth === 1 ? 0 : (depth === 0) === isWide ? -1 : 1
  const x = side === 0 ? (x0 + x1) / 2 : side < 0 ? x0 - 8 : x1 + 8
  const place = {
    x,
    y: (y0 + y1) / 2 + (note ? -2 : 4),
    'text-anchor': ['end', 'middle', 'start'][side + 1],
  } as const
  const box = h('rect', { x: x0, y: y0, width: x1 - x0, height: Math.max(2, y1 - y0), rx: 3 })
  const below = note && h('tspan', { class: 'note', x, dy: '1.2em' }, note)
  return h(
    'g',
    { key, onMouseEnter: () => (pointed.value = key) },
    box,
    h('text', place as object, title, below),
  )
}

/** A rule opens in the drawer; of a bundle its rules are searched for. */
function pick({ items, stations: [, bridge, guest] }: Line): void {
  const [first, ...others] = items
  const isOneGuest = items.every(({ row }) => row.guest?.vmid === first?.row.guest?.vmid)
  choose(others.length === 0 ? { rule: first?.id } : { query: isOneGuest ? guest : bridge })
}

function wordsOf({ items, stations: [, , guest], isOut, isBad }: Line): string {
  const [first, ...others] = items
  const state = isBad ? ', in error' : ''
  if (!first || others.length > 0) return `${items.length} rules of ${guest}${state}`
  if (isOut) return `${guest} goes out, ${first.target}${state}`
  return `${first.row.proto.join(' ')} ${first.external} leads to ${guest}, ${first.target}${state}`
}
