/** Connections and bytes of each of several uplinks, from the counters of the rules that are in force. */
import { sameRange, type Range } from '../address.ts'
import type { Network } from '../network.ts'
import type { Installed } from '../ruleset/installed.ts'
import type { Rule, Ruleset, Table } from '../ruleset/ruleset.ts'
import { countedRules } from './installed.ts'

/** Connections that came to its addresses, connections that were translated on their way out by it, and bytes that left by it. */
export type UplinkCounters = readonly [came: number, left: number, bytes: number]

/** By the name of the uplink; none where there is one. Bytes are of answers and of translated connections. */
export function uplinkCounters(
  ruleset: Pick<Ruleset, 'chains'>,
  installed: Installed,
  { external }: Pick<Network, 'external'>,
): Map<string, UplinkCounters> {
  if (external.length < 2) return new Map()
  const carrier = (address: Range | undefined): string | undefined =>
    address && external.find(({ addresses }) => addresses.some((own) => sameRange(own, address)))?.name
  const counted = new Map(external.map(({ name }) => [name, [0, 0, 0] as [number, number, number]]))
  for (const { chain, rule, packets, bytes } of countedRules(ruleset, installed)) {
    const [kind, name] = countedBy(chain.table, chain.name, rule, carrier)
    const sums = counted.get(name ?? '')
    if (sums && kind === 'came') sums[0] += packets
    else if (sums && kind === 'left') sums[1] += packets
    else if (sums && kind === 'bytes') sums[2] += bytes
  }
  return counted
}

/** The part that a rule counts, and its uplink. */
function countedBy(
  table: Table,
  chain: string,
  { out, destination, originalDestination, replyDestination, target }: Rule,
  carrier: (address: Range | undefined) => string | undefined,
): ['came' | 'left' | 'bytes', string | undefined] {
  if (table === 'mangle') return ['bytes', carrier(originalDestination ?? replyDestination)]
  if (target.kind === 'masquerade' || target.kind === 'snat') return ['left', out]
  const [called] = Array.isArray(destination?.ranges) ? destination.ranges : []
  const isWayIn = target.kind === 'jump' && /^PVENAT-(PREROUTING|EXTERNAL|EX-)/.test(chain)
  return ['came', isWayIn ? carrier(called) : undefined]
}
