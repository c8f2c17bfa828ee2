/** Where everything of the picture is: from left to right where there is room, from top to bottom on a phone. Pure. */
import { groupBy, type Line, type Scene } from './scene.ts'

export interface Box {
  key: string
  x: number
  y: number
  w: number
  h: number
}

export interface Placed {
  line: Line
  /** Of an SVG path, from the internet to the target. */
  path: string
  /** Where the node lets it in, or does not. */
  gate: { x: number; y: number }
  /** Where it ends; its label is beside it. */
  end: { x: number; y: number }
}

export interface Layout {
  width: number
  height: number
  isNarrow: boolean
  internet: Box
  node: Box
  addresses: Box[]
  bridges: Box[]
  targets: Box[]
  lines: Placed[]
}

const NARROW = 720
const HEAD = 30
const ROW = 20
const GAP = 12
const TOP = 34

const targetHeight = (lines: number): number => HEAD + lines * ROW + 4

export function layOut(scene: Scene, width: number): Layout {
  return width < NARROW ? downwards(scene, width) : sideways(scene, width)
}

/** How many lines each station has, and which one of them a line is. */
function makeRanks(lines: readonly Line[], keyOf: (line: Line) => string): (line: Line) => [number, number] {
  const groups = groupBy(lines, keyOf)
  return (line) => {
    const group = groups.get(keyOf(line)) ?? []
    return [group.indexOf(line), group.length]
  }
}

/** Lines beside each other, centred on the middle of a side that is so long. */
function spread([at, of]: [number, number], length: number): number {
  const step = Math.min(7, (length - 12) / Math.max(1, of))
  return length / 2 + (at - (of - 1) / 2) * step
}

/** Boxes below each other. */
function stack<T extends { key: string }>(
  ones: readonly T[],
  heightOf: (one: T) => number,
  { x, w, y }: Pick<Box, 'x' | 'w' | 'y'>,
): Box[] {
  let at = y
  return ones.map((one) => {
    const box = { key: one.key, x, y: at, w, h: heightOf(one) }
    at += box.h + GAP
    return box
  })
}

function endOf(boxes: readonly Box[], otherwise: number): number {
  const last = boxes.at(-1)
  return last ? last.y + last.h : otherwise
}

/** A line with its boxes, and how high it calls at each of them, beside the others that do. */
interface Call {
  line: Line
  address: Box
  bridge: Box
  target: Box
  y: { address: number; bridge: number; target: number }
}

function callsOf(lines: readonly Line[], boxes: Pick<Layout, 'addresses' | 'bridges' | 'targets'>): Call[] {
  const ofAddress = makeRanks(lines, ({ address }) => address)
  const ofBridge = makeRanks(lines, ({ bridge }) => bridge)
  const ofTarget = makeRanks(lines, ({ target }) => target)
  return lines.flatMap((line) => {
    const address = boxes.addresses.find(({ key }) => key === line.address)
    const bridge = boxes.bridges.find(({ key }) => key === line.bridge)
    const target = boxes.targets.find(({ key }) => key === line.target)
    if (!address || !bridge || !target) return []
    const y = {
      address: address.y + spread(ofAddress(line), address.h),
      bridge: bridge.y + spread(ofBridge(line), bridge.h),
      target: target.y + HEAD + ofTarget(line)[0] * ROW + ROW / 2,
    }
    return [{ line, address, bridge, target, y }]
  })
}

/** Boxes of one column, each as near to the middle of what it is tied to as the others let it. */
function pull(boxes: Box[], wantOf: (key: string) => number | undefined, bottom: number): Box[] {
  let at = TOP
  const placed = boxes.map((box) => {
    const want = (wantOf(box.key) ?? at + box.h / 2) - box.h / 2
    const y = Math.max(at, want)
    at = y + box.h + GAP
    return { ...box, y }
  })
  let limit = bottom
  return placed
    .reverse()
    .map((box) => {
      const y = Math.min(box.y, limit - box.h)
      limit = y - GAP
      return { ...box, y }
    })
    .reverse()
}

const middle = (boxes: readonly Box[]): number | undefined => boxes[0] && (boxes[0].y + endOf(boxes, 0)) / 2

function sideways({ addresses, bridges, targets }: Scene, width: number): Layout {
  const lines = targets.flatMap((target) => target.lines)
  const tall = (count: number): number => Math.min(160, Math.max(44, count * 7 + 14))
  const heightA = ({ key }: { key: string }): number =>
    tall(lines.filter(({ address }) => address === key).length)
  const heightB = ({ key }: { key: string }): number =>
    tall(lines.filter(({ bridge }) => bridge === key).length)
  const targetBoxes = stack(targets, (target) => targetHeight(target.lines.length), {
    x: width * 0.74,
    w: width * 0.26 - 8,
    y: TOP,
  })
  const bridgeStack = stack(bridges, heightB, { x: width * 0.5, w: width * 0.13, y: TOP })
  const addressStack = stack(addresses, heightA, { x: width * 0.165, w: width * 0.2, y: TOP })
  const bottom = Math.max(
    ...targetBoxes.map(({ y, h }) => y + h),
    ...[bridgeStack, addressStack].map((boxes) => endOf(boxes, TOP - GAP)),
    TOP + 120,
  )
  const isOf = (bridge: string): Box[] => targetBoxes.filter((_, i) => targets[i]?.bridge === bridge)
  const bridgeBoxes = pull(bridgeStack, (key) => middle(isOf(key)), bottom)
  const centre = (TOP + bottom) / 2
  const offset = Math.max(0, centre - (endOf(addressStack, TOP - GAP) + GAP) / 2)
  const down = Math.max(TOP, offset + TOP / 2) - TOP
  const addressBoxes = addressStack.map((box) => ({ ...box, y: box.y + down }))
  const internet = { key: 'internet', x: 4, y: centre - 44, w: width * 0.1, h: 88 }
  const gateX = width * 0.43
  const node = { key: 'node', x: gateX, y: 6, w: width * 0.225, h: bottom + 8 }
  const boxes = { addresses: addressBoxes, bridges: bridgeBoxes, targets: targetBoxes }
  const placed = callsOf(lines, boxes).map(({ line, address, bridge, target, y }, i): Placed => {
    const start = internet.y + spread([i, lines.length], internet.h)
    const path = [
      `M${n(internet.x + internet.w)} ${n(start)}`,
      curve(internet.x + internet.w, start, address.x, y.address),
      `H${n(gateX)}`,
      curve(gateX, y.address, bridge.x, y.bridge),
      `H${n(bridge.x + bridge.w)}`,
      curve(bridge.x + bridge.w, y.bridge, target.x, y.target),
    ].join('')
    return { line, path, gate: { x: gateX, y: y.address }, end: { x: target.x, y: y.target } }
  })
  return { width, height: bottom + 22, isNarrow: false, internet, node, ...boxes, lines: placed }
}

const n = (value: number): string => String(Math.round(value * 10) / 10)

function curve(x: number, y: number, toX: number, toY: number): string {
  const half = (x + toX) / 2
  return `C${n(half)} ${n(y)} ${n(half)} ${n(toY)} ${n(toX)} ${n(toY)}`
}

/** Stations below each other; lines run in the gutter and call at each of theirs. */
function downwards({ addresses, bridges, targets }: Scene, width: number): Layout {
  const lines = targets.flatMap((target) => target.lines)
  const x = 64
  const w = width - x - 10
  const internet = { key: 'internet', x: 4, y: 4, w: width - 8, h: 34 }
  const tall = (count: number): number => Math.max(44, Math.min(100, count * 6 + 20))
  const heightA = ({ key }: { key: string }): number =>
    tall(lines.filter(({ address }) => address === key).length)
  const addressBoxes = stack(addresses, heightA, { x, w, y: 56 })
  const nodeTop = endOf(addressBoxes, 56) + 22
  const bridgeBoxes = stack(bridges, () => 44, { x, w: w - 8, y: nodeTop + HEAD })
  const nodeEnd = endOf(bridgeBoxes, nodeTop + HEAD - GAP) + GAP
  const node = { key: 'node', x: 34, y: nodeTop, w: width - 40, h: nodeEnd - nodeTop }
  const targetBoxes = stack(targets, (target) => targetHeight(target.lines.length), {
    x,
    w,
    y: nodeEnd + GAP,
  })
  const boxes = { addresses: addressBoxes, bridges: bridgeBoxes, targets: targetBoxes }
  const placed = callsOf(lines, boxes).map(({ line, address, bridge, target, y }, i): Placed => {
    const at = 8 + (i % 9) * 5
    const turn = (to: number): string => `V${n(to - 8)}Q${at} ${n(to)} ${at + 8} ${n(to)}`
    const call = (box: Box, to: number): string =>
      `${turn(to)}H${box.x + 6}H${at + 8}Q${at} ${n(to)} ${at} ${n(to + 8)}`
    const path = `M${at} ${internet.y + internet.h}${call(address, y.address)}${call(bridge, y.bridge)}${turn(y.target)}H${target.x}`
    return { line, path, gate: { x: at, y: nodeTop }, end: { x: target.x, y: y.target } }
  })
  const height = endOf(targetBoxes, nodeEnd) + GAP + 4
  return { width, height, isNarrow: true, internet, node, ...boxes, lines: placed }
}
