/** Where everything of the picture is: from left to right where there is room, from top to bottom on a phone. Pure. */
import type { Line, Scene } from './scene.ts'

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
  const groups = new Map<string, Line[]>()
  for (const line of lines) groups.set(keyOf(line), [...(groups.get(keyOf(line)) ?? []), line])
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

function stack(keys: readonly string[], heights: readonly number[], x: number, w: number, y: number): Box[] {
  let at = y
  return keys.map((key, i) => {
    const h = heights[i] ?? 40
    const box = { key, x, y: at, w, h }
    at += h + GAP
    return box
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

const middle = (boxes: readonly Box[]): number | undefined => {
  const first = boxes[0]
  const last = boxes.at(-1)
  return first && last ? (first.y + last.y + last.h) / 2 : undefined
}

function sideways({ addresses, bridges, targets }: Scene, width: number): Layout {
  const lines = targets.flatMap((target) => target.lines)
  const column = { address: width * 0.165, bridge: width * 0.5, target: width * 0.74 }
  const sizes = {
    internet: width * 0.1,
    address: width * 0.2,
    bridge: width * 0.13,
    target: width * 0.26 - 8,
  }
  const ofAddress = makeRanks(lines, ({ address }) => address)
  const ofBridge = makeRanks(lines, ({ bridge }) => bridge)
  const tall = (count: number): number => Math.min(160, Math.max(44, count * 7 + 14))
  const heightsA = addresses.map(({ key }) => tall(lines.filter(({ address }) => address === key).length))
  const heightsB = bridges.map(({ key }) => tall(lines.filter(({ bridge }) => bridge === key).length))
  const targetBoxes = stack(
    targets.map(({ key }) => key),
    targets.map((target) => targetHeight(target.lines.length)),
    ...([column.target, sizes.target, TOP] as const),
  )
  const sum = (heights: number[]): number => heights.reduce((all, h) => all + h + GAP, TOP)
  const bottom = Math.max(
    ...[...targetBoxes.map(({ y, h }) => y + h), sum(heightsA) - GAP, sum(heightsB) - GAP, TOP + 120],
  )
  const isOf = (bridge: string): Box[] => targetBoxes.filter((_, i) => targets[i]?.bridge === bridge)
  const keysB = bridges.map(({ key }) => key)
  const bridgeBoxes = pull(
    stack(keysB, heightsB, column.bridge, sizes.bridge, TOP),
    ...([(key: string) => middle(isOf(key)), bottom] as const),
  )
  const centre = (TOP + bottom) / 2
  const offset = Math.max(0, centre - sum(heightsA) / 2)
  const addressBoxes = stack(
    addresses.map(({ key }) => key),
    heightsA,
    ...([column.address, sizes.address, Math.max(TOP, offset + TOP / 2)] as const),
  )
  const internet = { key: 'internet', x: 4, y: centre - 44, w: sizes.internet, h: 88 }
  const gateX = width * 0.43
  const node = { key: 'node', x: gateX, y: 6, w: width * 0.225, h: bottom + 8 }
  const at = (boxes: Box[], key: string): Box => boxes.find((box) => box.key === key) ?? internet
  const placed = lines.map((line): Placed => {
    const a = at(addressBoxes, line.address)
    const b = at(bridgeBoxes, line.bridge)
    const t = at(targetBoxes, line.target)
    const index = targets.find(({ key }) => key === line.target)?.lines.indexOf(line) ?? 0
    const ya = a.y + spread(ofAddress(line), a.h)
    const yb = b.y + spread(ofBridge(line), b.h)
    const yt = t.y + HEAD + index * ROW + ROW / 2
    const yi = internet.y + spread([lines.indexOf(line), lines.length], internet.h)
    const gateY = ya
    const path = [
      `M${n(internet.x + internet.w)} ${n(yi)}`,
      curve(internet.x + internet.w, yi, a.x, ya),
      `H${n(gateX)}`,
      curve(gateX, gateY, b.x, yb),
      `H${n(b.x + b.w)}`,
      curve(b.x + b.w, yb, t.x, yt),
    ].join('')
    return { line, path, gate: { x: gateX, y: gateY }, end: { x: t.x, y: yt } }
  })
  return {
    ...{ width, height: bottom + 22, isNarrow: false, internet, node },
    ...{ addresses: addressBoxes, bridges: bridgeBoxes, targets: targetBoxes, lines: placed },
  }
}

const n = (value: number): string => String(Math.round(value * 10) / 10)

function curve(x: number, y: number, toX: number, toY: number): string {
  const half = (x + toX) / 2
  return `C${n(half)} ${n(y)} ${n(half)} ${n(toY)} ${n(toX)} ${n(toY)}`
}

/** Stations below each other; lines run in the gutter and call at each of theirs. */
function downwards({ addresses, bridges, targets }: Scene, width: number): Layout {
  const lines = targets.flatMap((target) => target.lines)
  const gutter = 64
  const w = width - gutter - 10
  const internet = { key: 'internet', x: 4, y: 4, w: width - 8, h: 34 }
  const tall = (count: number): number => Math.max(44, Math.min(100, count * 6 + 20))
  const countA = (key: string): number => lines.filter(({ address }) => address === key).length
  const keysA = addresses.map(({ key }) => key)
  const addressBoxes = stack(
    keysA,
    keysA.map((key) => tall(countA(key))),
    gutter,
    w,
    56,
  )
  const nodeTop = endOf(addressBoxes, 56) + 22
  let at = nodeTop + HEAD
  const bridgeBoxes: Box[] = []
  const targetBoxes = new Map<string, Box>()
  for (const bridge of bridges) {
    bridgeBoxes.push({ key: bridge.key, x: gutter, y: at, w: w - 8, h: 44 })
    at += 44 + GAP
  }
  const node = { key: 'node', x: 34, y: nodeTop, w: width - 40, h: at - nodeTop }
  at += GAP
  for (const target of targets) {
    const h = targetHeight(target.lines.length)
    targetBoxes.set(target.key, { key: target.key, x: gutter, y: at, w, h })
    at += h + GAP
  }
  const rank = makeRanks(lines, ({ address }) => address)
  const rankB = makeRanks(lines, ({ bridge }) => bridge)
  const find = (boxes: Box[], key: string): Box => boxes.find((box) => box.key === key) ?? internet
  const placed = lines.map((line, i): Placed => {
    const x = 8 + (i % 9) * 5
    const a = find(addressBoxes, line.address)
    const b = find(bridgeBoxes, line.bridge)
    const t = targetBoxes.get(line.target) ?? internet
    const index = targets.find(({ key }) => key === line.target)?.lines.indexOf(line) ?? 0
    const ya = a.y + spread(rank(line), a.h)
    const yb = b.y + spread(rankB(line), b.h)
    const yt = t.y + HEAD + index * ROW + ROW / 2
    const call = (box: Box, y: number): string =>
      `V${n(y - 8)}Q${x} ${n(y)} ${x + 8} ${n(y)}H${box.x + 6}H${x + 8}Q${x} ${n(y)} ${x} ${n(y + 8)}`
    const path = `M${x} ${internet.y + internet.h}${call(a, ya)}${call(b, yb)}V${n(yt - 8)}Q${x} ${n(yt)} ${x + 8} ${n(yt)}H${t.x}`
    return { line, path, gate: { x, y: nodeTop }, end: { x: t.x, y: yt } }
  })
  return {
    ...{ width, height: at + 4, isNarrow: true, internet, node },
    ...{ addresses: addressBoxes, bridges: bridgeBoxes, targets: [...targetBoxes.values()], lines: placed },
  }
}

function endOf(boxes: readonly Box[], otherwise: number): number {
  const last = boxes.at(-1)
  return last ? last.y + last.h : otherwise
}
