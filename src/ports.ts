/** Ranges of ports, and lists of them. */

/** First and last port, both included. */
export type PortRange = readonly [lo: number, hi: number]

export const ALL_PORTS: PortRange = [0, 65_535]

export function formatPorts(list: readonly PortRange[]): string {
  return list.map(([lo, hi]) => (lo === hi ? `${lo}` : `${lo}-${hi}`)).join(',')
}

/** Sorted, and joined where they touch or overlap. */
export function mergePorts(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = []
  for (const [lo, hi] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last && lo <= last[1] + 1) merged[merged.length - 1] = [last[0], Math.max(last[1], hi)]
    else merged.push([lo, hi])
  }
  return merged
}

export function meets(a: PortRange, b: PortRange): boolean {
  return a[0] <= b[1] && b[0] <= a[1]
}

/** The ports of both; undefined when there are none. */
export function meet(a: PortRange, b: PortRange): PortRange | undefined {
  return meets(a, b) ? [Math.max(a[0], b[0]), Math.min(a[1], b[1])] : undefined
}

/** The parts of a list that lie in a range. */
export function within(list: readonly PortRange[], range: PortRange): PortRange[] {
  return list.map((one) => meet(one, range)).filter((both) => both !== undefined)
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
