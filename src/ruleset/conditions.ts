/** Conditions that NAT rules of all kinds have in common. */
import type { Family } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { KernelSet, Match } from '../nat/model.ts'
import type { Rule } from './model.ts'

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

/**
 * An own set of addresses and ports. Its name changes with its content, so that old rules go with the old set and new ones
 * with the new until the very moment when they change.
 */
export function pairSet(name: string, family: Family, entries: readonly string[]): KernelSet {
  const sorted = [...new Set(entries)].sort()
  return {
    name: `pvenat-${name}-${shortHash(sorted.join())}-v${family}`,
    type: 'hash:ip,port',
    family,
    entries: sorted,
  }
}
