/** The node as a picture: external addresses, bridges, guests, and the lines of rules between them. */
import { sankey, sankeyLinkHorizontal, type SankeyLink, type SankeyNode } from 'd3-sankey'
import type { JSX } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { groupBy } from './model.ts'
import { makeLines, type Line } from './scene.ts'
import { choose, chosen, counters, pointed, status, visible } from './store.ts'

type Station = { key: string; title: string; note: string }
type Box = SankeyNode<Station, { line: Line }>
type Curve = SankeyLink<Station, { line: Line }>

const [LINE_PX, MAX_LINE_PX, GAP_PX, SIDE_PX] = [22, 64, 12, 180]
/** Half of a bridge's width. */
const BRIDGE_PX = 62
/** From here on names have room beside the lines. */
const WIDE_PX = 700

interface Room {
  width: number
  /** As much of the window as is below the top of the map. */
  height: number
}

function layOut(lines: readonly Line[], room: Room): { boxes: Box[]; curves: Curve[]; height: number } {
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
  const heightOf = (linePx: number): number => 18 + lines.length * linePx + Math.max(...inColumn) * GAP_PX
  const height = Math.max(heightOf(LINE_PX), Math.min(room.height, heightOf(MAX_LINE_PX)))
  const side = room.width < WIDE_PX ? 8 : SIDE_PX
  const layout = sankey<Station, { line: Line }>().nodeWidth(10).nodePadding(GAP_PX)
  // Lines are in an order in which few cross. A line leaves a bridge where it came in.
  layout.nodeId(({ key }) => key).nodeSort(() => 0).linkSort((a, b) => (a.index ?? 0) - (b.index ?? 0)) // prettier-ignore
  layout.extent([[side, 12], [room.width - side, height - 6]]) // prettier-ignore
  const placed = layout({ nodes: [...nodes.values()], links })
  return { boxes: placed.nodes, curves: placed.links, height }
}

export function NodeMap(): JSX.Element {
  const root = useRef<HTMLDivElement>(null)
  const [room, setRoom] = useState<Room>({ width: 0, height: 0 })
  useLayoutEffect(() => {
    const measure = (): void => {
      const { top = 0, width = 0 } = root.current?.getBoundingClientRect() ?? {}
      // Below it are a note and the footer.
      setRoom({ width: Math.floor(width) - 2, height: innerHeight - scrollY - top - 90 })
    }
    const observer = new ResizeObserver(measure)
    if (root.current) observer.observe(root.current)
    return () => observer.disconnect()
  }, [])
  const lines = makeLines(visible.value, (id) => counters.peek().rules[id]?.[1] ?? 0)
  return (
    <div ref={root} class="card" onMouseLeave={() => (pointed.value = undefined)}>
      {room.width > 0 && lines.length > 0 && <Picture lines={lines} room={room} />}
      {lines.length === 0 && <p class="nothing">No forward or way out matches.</p>}
      {lines.some(({ items }) => items.length > 1) && (
        <p class="p-3">
          <small>A line is a guest at an address; choose it to see its rules.</small>
        </p>
      )}
    </div>
  )
}

const pathOf = sankeyLinkHorizontal<Station, { line: Line }>()

function Picture({ lines, room }: { lines: readonly Line[]; room: Room }): JSX.Element {
  const { boxes, curves, height } = layOut(lines, room)
  const isHot = ({ id, items, stations }: Line): boolean =>
    pointed.value === undefined
      ? items.some((item) => item.id === chosen.value.rule)
      : id === pointed.value || stations.some((title, column) => `${column} ${title}` === pointed.value)
  const isWide = room.width >= WIDE_PX
  const curvesOf = groupBy(curves, ({ line }) => line.id)
  const drawn = lines.map((line) => ({ line, curves: curvesOf.get(line.id) ?? [] }))
  return (
    <svg
      width={room.width}
      height={height}
      class={`map ${lines.some(isHot) ? 'cold' : ''}`}
      role="group"
      aria-label="Map of the node"
    >
      {drawn.map((one) => way(one, isHot(one.line)))}
      {isWide && drawn.map(ends)}
      {boxes.map((box) => name(box, isWide))}
    </svg>
  )
}

interface Drawn {
  line: Line
  curves: readonly Curve[]
}

function way({ line, curves }: Drawn, isHot: boolean): JSX.Element {
  const point = (id: string | undefined) => () => void (pointed.value = id)
  const words = wordsOf(line)
  return (
    <g
      key={line.id}
      class={`way ${line.isBad ? '[--tone:var(--color-bad)]' : '[--tone:var(--color-brand)]'} ${isHot ? 'hot' : ''}`}
      role="button"
      tabIndex={0}
      aria-label={words}
      onMouseEnter={point(line.id)}
      onFocus={point(line.id)}
      onBlur={point(undefined)}
      onClick={() => pick(line)}
      onKeyDown={({ key }) => key === 'Enter' && pick(line)}
    >
      <title>{words}</title>
      {curves.map((curve) => (
        <path
          d={pathOf(curve) ?? ''}
          stroke-width={Math.min(14, 4 + 2 * Math.log2(line.items.length))}
          stroke-dasharray={line.isOut ? '9 5' : undefined}
        />
      ))}
    </g>
  )
}

/** The texts at the ends of a line. */
function ends({ line, curves: [first, last] }: Drawn): JSX.Element {
  const [outer, inner] = line.labels
  return (
    <g key={line.id} class="ends">
      <text x={((first?.source as Box).x1 ?? 0) + 8} y={(first?.y0 ?? 0) - 5}>
        {outer}
      </text>
      <text x={((last?.target as Box).x0 ?? 0) - 8} y={(last?.y1 ?? 0) - 5} text-anchor="end">
        {inner}
      </text>
    </g>
  )
}

/** A box and its name: a bridge is as wide as its name; the others have theirs outside of the lines where there is room. */
function name(box: Box, isWide: boolean): JSX.Element {
  const { key, title, note, depth = 0, x0 = 0, x1 = 0, y0 = 0, y1 = 0 } = box
  const isBridge = depth === 1
  const isLeft = (depth === 0) === isWide
  const [x, anchor] = isBridge ? [(x0 + x1) / 2, 'middle'] : isLeft ? [x0 - 8, 'end'] : [x1 + 8, 'start']
  const grown = isBridge ? BRIDGE_PX - 5 : 0
  const hasNote = note !== '' && y1 - y0 > 30
  return (
    <g key={key} class={isBridge ? 'bridge' : ''} onMouseEnter={() => (pointed.value = key)}>
      <rect x={x0 - grown} y={y0} width={x1 - x0 + 2 * grown} height={Math.max(2, y1 - y0)} rx={3} />
      <text x={x} y={(y0 + y1) / 2 + (hasNote ? -2 : 4)} text-anchor={anchor}>
        {title}
        {hasNote && (
          <tspan class="note" x={x} dy="1.2em">
            {note}
          </tspan>
        )}
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
  const state = isBad ? ', in error' : ''
  if (!first || others.length > 0) return `${items.length} rules of ${guest}${state}`
  if (isOut) return `${guest} goes out, ${first.target}${state}`
  return `${first.row.proto.join(' ')} ${first.external} leads to ${guest}, ${first.target}${state}`
}
