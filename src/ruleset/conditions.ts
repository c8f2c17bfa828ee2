/** Conditions that NAT rules of all kinds have in common. */
import { formatRange, type Family, type Range } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { KernelSet, Match } from '../nat/nat-rule.ts'
import type { PortRange } from '../ports.ts'
import type { Rule } from './ruleset.ts'

/** Protocol and ports. */
export function packets({
  proto,
  ports,
  sport,
  icmpType,
}: {
  proto?: string
  ports?: Rule['ports']
  sport?: Rule['sport']
  icmpType?: string
}): Partial<Rule> {
  return {
    ...(proto === undefined || proto === 'all' ? {} : { proto }),
    ...(ports ? { ports } : {}),
    ...(sport ? { sport } : {}),
    ...(icmpType === undefined ? {} : { icmpType }),
  }
}

/** Source and destination, where they matter. */
export function matches(source: Match, destination: Match): Partial<Rule> {
  return {
    ...(source.ranges === 'any' ? {} : { source }),
    ...(destination.ranges === 'any' ? {} : { destination }),
  }
}

/** Members of a set are single ports: wider ranges are matched by a rule instead. */
const MAX_SET_WIDTH = 256

/** Members from which on a pair set keeps its name. */
const MANY = 256

/** Whether ports (none: all of them) are too many for members of a pair set. */
export function isWide(ports: PortRange | undefined): boolean {
  return !ports || ports[1] - ports[0] >= MAX_SET_WIDTH
}

/** The members of a pair set for one address and its ports. */
export function pairs(address: Range, proto: string, [lo, hi]: PortRange): string[] {
  const text = formatRange(address)
  return Array.from({ length: hi - lo + 1 }, (_, i) => `${text},${proto}:${lo + i}`)
}

/**
 * An own set of addresses and ports. Its name changes with its content, so that old rules use the old set and new rules
 * the new set until the rules are replaced. A big set keeps its name, so that a change of one member writes no rule;
 * members then come and go a moment before the rules of the forwards that they are for, and no other forward notices.
 */
export function pairSet(name: string, family: Family, entries: readonly string[]): KernelSet {
  const sorted = [...new Set(entries)].sort()
  return {
    name: `pvenat-${name}-${sorted.length < MANY ? shortHash(sorted.join()) : 'many'}-v${family}`,
    type: 'hash:ip,port',
    family,
    entries: sorted,
  }
}
