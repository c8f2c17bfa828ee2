/**
 * Rules of others in PREROUTING that set marks anew after pvenat has set its own, or at the same priority: a marked answer then leaves by the
 * default route. wg-quick makes such a rule for UDP unless its tunnel has `Table = off`.
 */
import { intersects, type Family } from '../address.ts'
import { field, listOf, members, textOf } from '../json.ts'
import type { View } from '../nat/view.ts'
import { BACKENDS, saveProgram } from './backend.ts'
import { isInterface } from './foreign.ts'
import type { NodeFacts } from './node-facts.ts'
import { conditionsOf, FAMILIES_OF, type NftChain, type NftRule, type Nftables } from './nftables.ts'
import { savedFilters } from './saved-filters.ts'

/** The priority of the table mangle (linux/netfilter_ipv4.h). */
const MANGLE = -150

export interface MarkSetter {
  family: Family
  /** Where it was read. */
  place: string
  chain: NftChain
  /** `udp`; undefined of a rule for every protocol. */
  proto: string | undefined
  /** It certainly comes after pvenat. Of two hooks with one priority the kernel runs the newer one first, and does not tell which that is. */
  isBehind: boolean
}

/** The rules by which answers from guests may lose the marks of pvenat. */
export function markSetters(
  { tables, nftables, backend }: Pick<NodeFacts, 'tables' | 'nftables' | 'backend'>,
  family: Family,
  view: Pick<View, 'network' | 'settings'>,
): MarkSetter[] {
  const saved = BACKENDS.flatMap((one) => savedFilters(tables[one][family], family, one))
  const native = nftables.chains.filter((chain) => FAMILIES_OF[chain.family]?.includes(family))
  const ours = saveProgram(backend, family)
  return [...saved, ...native]
    .filter(({ hook, type, priority }) => hook === 'prerouting' && type === 'filter' && priority >= MANGLE)
    .flatMap((chain) =>
      chain.rules
        .filter((rule) => setsMark(rule, view.settings.uplinkMark.mask))
        .filter((rule) => meetsAnswers(rule, chain, nftables, family, view))
        .map((rule) => ({
          family,
          chain,
          place:
            rule.place ??
            `nft -a list chain ${chain.family} ${chain.table} ${chain.name}: handle ${rule.handle}`,
          proto: conditionsOf(rule, undefined, chain, nftables).proto,
          // In the table of pvenat its jump comes first.
          isBehind: chain.priority > MANGLE || chain.program === ours,
        })),
    )
}

/** Whether a rule changes bits of this mask. */
function setsMark({ statements }: NftRule, mask: number): boolean {
  return statements.some((statement) => {
    const set = field(statement, 'mangle')
    const key = textOf(field(field(field(set, 'key'), 'meta'), 'key'))
    return key === 'mark' && (~keptBits(field(set, 'value')) & mask) !== 0
  })
}

/** The bits that a new mark takes over from the old one. */
function keptBits(value: unknown): number {
  const [operator = '', operands] = members(value)[0] ?? []
  if (operator === 'meta') return textOf(field(operands, 'key')) === 'mark' ? ~0 : 0
  const [old, bits] = listOf(operands)
  if (typeof bits !== 'number') return 0
  if (operator === '&') return keptBits(old) & bits
  return operator === '|' || operator === '^' ? keptBits(old) & ~bits : 0
}

/** Whether answers from guests may meet the conditions of a rule, as far as those are read. */
function meetsAnswers(
  rule: NftRule,
  chain: NftChain,
  nftables: Nftables,
  family: Family,
  { network }: Pick<View, 'network'>,
): boolean {
  const { in: from, source } = conditionsOf(rule, undefined, chain, nftables)
  return network.internal.some(
    (one) =>
      one.network.family === family &&
      (from === undefined || isInterface(from, one.bridge)) &&
      (source === undefined || intersects(source, [one.network])),
  )
}
