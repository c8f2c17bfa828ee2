/** The node as a picture: external addresses, bridges, guests, and the lines of rules between them. */
import { sankey, sankeyLinkHorizontal, type SankeyLink, type SankeyNode } from 'd3-sankey'
import type { JSX } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { groupBy } from './model.ts'
import { makeLines, type Line } from './scene.ts'
import { choose, chosen, hour, hourNow, pointed, status, visible } from './store.ts'
import { TONES } from './ui.tsx'

type Station = { key: string; title: string; note: string }
type Box = SankeyNode<Station, { line: Line }>
type Curve = SankeyLink<Station, { line: Line }>

/** Lines have at least LINE_PX each; few lines fill ROOM_PX, about the height of a laptop without the header, with MAX_LINE_PX each at most. */
const [LINE_PX, MAX_LINE_PX, ROOM_PX] = [22, 64, 480]
const [GAP_PX, SIDE_PX] = [12, 180]
/** From here on names have room beside the lines. */
const WIDE_PX = 700

function layOut(lines: readonly Line[], width: number): [Box[], Curve[], heightPx: number] {
  const { external = [], internal = [] } = status.value ?? {}
  const notes = new Map([
    ...external.flatMap((one) => one.addresses.map((address): [string, string] => [address, one.interface])),
    ...internal.map((one): [string, string] => [one.interface, one.network]),
  ])
  const keys = lines.map(({ stations }) => stations.map((title, column) => `${column} ${title}`))
  const nodes = [...new Set(keys.flat())].map((key): Station => {
    const title = key.slice(2)
    return { key, title, note: notes.get(title) ?? '' }
  })
  const links = lines.flatMap((line, i) => {
    const [address = '', bridge = '', guest = ''] = keys[i] ?? []
    const link = (source: string, target: string) => ({ source, target, value: 1, line })
    return [link(address, bridge), link(bridge, guest)]
  })
  const inColumn = [...groupBy(nodes, ({ key }) => key.charAt(0)).values()].map((column) => column.length)
  const linePx = Math.min(MAX_LINE_PX, Math.max(LINE_PX, ROOM_PX / lines.length))
  const height = 18 + lines.length * linePx + Math.max(...inColumn) * GAP_PX
  const side = width < WIDE_PX ? 8 : SIDE_PX
  const layout = sankey<Station, { line: Line }>().nodeWidth(10).nodePadding(GAP_PX)
  // Lines are in an order in which few cross. A line leaves a bridge where it came in.
  layout.nodeSort(() => 0).linkSort((a, b) => (a.index ?? 0) - (b.index ?? 0))
  layout.nodeId(({ key }) => key).extent([[side, 12], [width - side, height - 6]]) // prettier-ignore
  const placed = layout({ nodes, links })
  return [placed.nodes, placed.links, height]
}

export function NodeMap(): JSX.Element {
  const root = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)))
    if (root.current) observer.observe(root.current)
    return () => observer.disconnect()
  }, [])
  const lines = makeLines(visible.value, hourNow)
  const isBundled = lines.some(({ items }) => items.length > 1)
  return (
    <div ref={root} class="card" onMouseLeave={() => (pointed.value = undefined)}>
      {width > 0 && lines.length > 0 && picture(lines, width)}
      {lines.length === 0 && <p class="nothing">No forward or way out matches.</p>}
      {isBundled && <p class="p-3 text-dim">A line is a guest at an address; choose it to see its rules.</p>}
    </div>
  )
}

const pathOf = sankeyLinkHorizontal<Station, { line: Line }>()

function picture(lines: readonly Line[], width: number): JSX.Element {
  const [boxes, curves, height] = layOut(lines, width)
  const isHot = ({ id, items, stations }: Line): boolean =>
    pointed.value === undefined
      ? items.some((item) => item.id === chosen.value.rule)
      : id === pointed.value || stations.some((title, column) => `${column} ${title}` === pointed.value)
  const isWide = width >= WIDE_PX
  const curvesOf = groupBy(curves, ({ line }) => line.id)
  const style = `map ${lines.some(isHot) ? 'cold' : ''} ${isWide ? '' : 'narrow'}`
  return (
    <svg width={width} height={height} class={style} role="group" aria-label="Map of the node">
      {lines.map((line) => way(line, curvesOf.get(line.id) ?? [], isHot(line)))}
      {boxes.map((box) => name(box, isWide))}
    </svg>
  )
}

function way(line: Line, curves: readonly Curve[], isHot: boolean): JSX.Element {
  const { id, items, labels, isBad, isOut } = line
  const [first, last] = curves
  const words = wordsOf(line)
  const point = (to: string | undefined) => () => void (pointed.value = to)
  const tone = isBad ? TONES.errors : '[--tone:var(--color-brand)]'
  const attributes: JSX.IntrinsicElements['g'] = {
    class: `way ${tone} ${isHot ? 'hot' : ''} ${isOut ? '[stroke-dasharray:9_5]' : ''}`,
    role: 'button',
    tabIndex: 0,
    'aria-label': words,
    onMouseEnter: point(id),
    onFocus: point(id),
    onBlur: point(undefined),
    onClick: () => pick(line),
    onKeyDown: ({ key }) => key === 'Enter' && pick(line),
  }
  const width = Math.min(14, 4 + 2 * Math.log2(items.length))
  const from = { x: ((first?.source as Box).x1 ?? 0) + 8, y: (first?.y0 ?? 0) - width / 2 - 5 }
  const to = { x: ((last?.target as Box).x0 ?? 0) - 8, y: (last?.y1 ?? 0) - width / 2 - 5 }
  return (
    <g key={id}>
      <g {...attributes}>
        <title>{words}</title>
        {curves.map((curve) => (
          <path d={pathOf(curve) ?? ''} stroke-width={width} />
        ))}
      </g>
      <text class="end" {...from}>
        {labels[0]}
      </text>
      <text class="end" {...to} text-anchor="end">
        {labels[1]}
      </text>
    </g>
  )
}

/** A box and its name: a bridge is as wide as its name; the others have theirs outside of the lines where there is room. */
function name(box: Box, isWide: boolean): JSX.Element {
  const { key, title, note, depth, x0 = 0, x1 = 0, y0 = 0, y1 = 0 } = box
  const isBridge = depth === 1
  const isLeft = (depth === 0) === isWide
  const [x, anchor] = isBridge ? [(x0 + x1) / 2, 'middle'] : isLeft ? [x0 - 8, 'end'] : [x1 + 8, 'start']
  const [more, style] = isBridge ? [isWide ? 57 : 40, 'fill-card stroke-brand stroke-2'] : [0, 'fill-brand']
  const frame = { x: x0 - more, width: x1 - x0 + 2 * more, y: y0, height: Math.max(2, y1 - y0), rx: 3 }
  const below = y1 - y0 > 30 && note
  return (
    <g key={key} onMouseEnter={() => (pointed.value = key)}>
      <rect {...frame} class={style} />
      <text x={x} y={(y0 + y1) / 2 + (below ? -2 : 4)} text-anchor={anchor}>
        {title}
        <tspan class="fill-dim text-xs" x={x} dy="1.2em">
          {below}
        </tspan>
      </text>
    </g>
  )
}

/** A rule opens in the drawer; of a bundle its rules are searched for. */
function pick({ items, stations: [, bridge, guest] }: Line): void {
  const [first, ...others] = items
  const isOneGuest = items.every(({ row }) => row.guest?.vmid === first?.row.guest?.vmid)
  choose(others.length === 0 ? { rule: first?.id ?? '' } : { q: isOneGuest ? guest : bridge })
}

function wordsOf({ items, stations: [, , guest], isOut, isBad }: Line): string {
  const [first, ...others] = items
  const state = `, ${items.reduce((sum, { id }) => sum + hour(id), 0)} new in the last hour${isBad ? ', in error' : ''}`
  if (!first || others.length > 0) return `${items.length} rules of ${guest}${state}`
  if (isOut) return `${guest} goes out, ${first.target}${state}`
  return `${first.external} leads to ${guest}, ${first.target}${state}`
}
