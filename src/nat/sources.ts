/** Clients of forwards, compared: the same, or with some in common. Sets of tens of thousands of networks are compared often. */
import { contains, formatRange, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { Match } from './nat-rule.ts'

type Ranges = readonly Range[]

const keyOf = new WeakMap<Ranges, string>()
const sortedOf = new WeakMap<Ranges, Ranges>()

/** The same for the same clients, however they are named. */
export function sourceKey({ ranges }: Match): string {
  if (ranges === 'any') return 'any'
  const known = keyOf.get(ranges)
  if (known !== undefined) return known
  const key = shortHash(ranges.map(formatRange).sort().join())
  keyOf.set(ranges, key)
  return key
}

/** Whether an address is one of them. */
export function holds({ ranges }: Match, address: Range): boolean {
  return ranges === 'any' || ranges.some((range) => contains(range, address))
}

/** Whether any client is in both. */
export function sourcesMeet(a: Match, b: Match): boolean {
  if (a.ranges === 'any' || b.ranges === 'any' || a.ranges === b.ranges) return true
  const [few, many] = a.ranges.length < b.ranges.length ? [a.ranges, b.ranges] : [b.ranges, a.ranges]
  const sorted = sortedRanges(many)
  return few.some((range) => meets(range, sorted))
}

/** The last range that begins at or before the end of the wanted one is the only one that can reach it. */
function meets({ family, lo, hi }: Range, sorted: Ranges): boolean {
  let [from, to] = [0, sorted.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if ((sorted[middle] as Range).lo <= hi) from = middle + 1
    else to = middle
  }
  const last = sorted[from - 1]
  return last !== undefined && last.family === family && last.hi >= lo
}

/** By first address, and joined where they overlap. All of one family, as the ranges of a match are. */
function sortedRanges(ranges: Ranges): Ranges {
  const known = sortedOf.get(ranges)
  if (known) return known
  const sorted: Range[] = []
  for (const range of [...ranges].sort((a, b) => (a.lo < b.lo ? -1 : a.lo > b.lo ? 1 : 0))) {
    const last = sorted.at(-1)
    if (!last || last.hi < range.lo) sorted.push({ ...range })
    else if (last.hi < range.hi) last.hi = range.hi
  }
  sortedOf.set(ranges, sorted)
  return sorted
}
