/** Conditions that NAT rules of all kinds have in common. */
import type { Match } from '../nat/model.ts'
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
