/** Addresses compared: whether one is among them, and whether two have any in common. */
import { contains, type Range } from '../address.ts'
import type { Match, NatRule } from './nat-rule.ts'

/** Whether an address is one of them. */
export function holds({ ranges }: { ranges: readonly Range[] | 'any' }, address: Range): boolean {
  return ranges === 'any' || ranges.some((range) => contains(range, address))
}

/** The active rule that lets an address out, translated. */
export function ruleOut(rules: readonly NatRule[], address: Range): NatRule | undefined {
  return rules.find(
    ({ state, egresses }) =>
      state === 'active' && egresses.some(({ source, exempt }) => !exempt && holds(source, address)),
  )
}

/** Whether any client is in both. */
export function sourcesMeet(a: Match, b: Match): boolean {
  if (a.ranges === 'any' || b.ranges === 'any' || a.ranges === b.ranges) return true
  // The ranges of each are in order. A range that ends before one of the other list begins meets none of the later ones either.
  for (let [i, j] = [0, 0]; ;) {
    const [one, other] = [a.ranges[i], b.ranges[j]]
    if (!one || !other) return false
    if (one.hi < other.lo) i++
    else if (other.hi < one.lo) j++
    else return one.family === other.family
  }
}
