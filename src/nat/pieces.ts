/** Forwards cut at ports, and lists of ports that others are taken out of. */
import type { PortRange } from './comment.ts'
import type { Forward } from './model.ts'

/** The inner ports of a forward; undefined when it has none. */
export function innerPorts({ ports, innerPort, single }: Forward): PortRange | undefined {
  if (!ports || innerPort === undefined) return undefined
  return [innerPort, single ? innerPort : innerPort + ports[1] - ports[0]]
}

/** The part of a forward at some of its ports; all of it when no ports are named. */
export function cover(forward: Forward, within: PortRange | undefined): Forward[] {
  const { ports, innerPort = 0, single } = forward
  if (!ports || !within) return [forward]
  const [lo, hi] = [Math.max(ports[0], within[0]), Math.min(ports[1], within[1])]
  if (lo > hi) return []
  if (lo === ports[0] && hi === ports[1]) return [forward]
  return [{ ...forward, ports: [lo, hi], innerPort: single ? innerPort : innerPort + lo - ports[0] }]
}

/** Takes ports out of a sorted list of ranges that lie apart, in place. */
export function takeOut(list: PortRange[], [lo, hi]: PortRange): void {
  const from = firstEnding(list, lo)
  let to = from
  const rest: PortRange[] = []
  for (let one = list[to]; one && one[0] <= hi; one = list[++to]) {
    if (one[0] < lo) rest.push([one[0], lo - 1])
    if (one[1] > hi) rest.push([hi + 1, one[1]])
  }
  list.splice(from, to - from, ...rest)
}

/** Whether any of these ports is in such a list. */
export function touches(list: readonly PortRange[], [lo, hi]: PortRange): boolean {
  const one = list[firstEnding(list, lo)]
  return one !== undefined && one[0] <= hi
}

/** Where the first range stands that ends at or behind a port. */
function firstEnding(list: readonly PortRange[], port: number): number {
  let [from, to] = [0, list.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if ((list[middle] as PortRange)[1] < port) from = middle + 1
    else to = middle
  }
  return from
}
