/** What the page is given, made of what the service publishes. */
import { contains, parseCidr, parseIp, parseRange, type Range } from '../address.ts'
import { worstFirst } from '../diagnostic.ts'
import type { Row } from '../show/list.ts'
import type { NodeAnswer, RuleAnswer } from '../node/asking.ts'
import { MINUTES, type History } from './history.ts'
import type { Status } from '../show/status.ts'
import type { Counters, Problem, Published } from '../node/published.ts'

/** A rule of the list; `via`: the bridge that its inner address is behind, null when it is behind none. */
export type PageRow = Row & { via: string | null }

/** The status without the problems, which change less often. Null: the service has not said anything. */
export type PageStatus = (Omit<Status, 'diagnostics'> & { diagnostics: undefined }) | null

/** `rules`: connections ever and in the last hour, by the id of each rule that had one. */
export interface PageCounters {
  /** When the service counted last. */
  at: string | null
  rules: Record<string, [ever: number, hour: number]>
}

/** One rule: connections in each minute of the last hour, the present one last (null before counting began), and who is connected. */
export interface PageRule {
  minutes: (number | null)[]
  /** Null while the service does not answer. */
  now: RuleAnswer | null
}

/** The node as far as a new rule depends on it; null while the service does not answer. */
export type PageNode = NodeAnswer

export function pageRows({ rows = [], status }: Published): PageRow[] {
  const behind = (status?.internal ?? []).flatMap((one): [string, Range][] => {
    const network = parseCidr(one.network)
    return network && one.interface !== '' ? [[one.interface, network]] : []
  })
  const known = new Map<string, string | null>()
  const find = (text: string): string | null => {
    const address = parseIp(text) ?? parseRange(text)
    return (address && behind.find(([, network]) => contains(network, address))?.[0]) ?? null
  }
  // Many rules lead to few addresses.
  const bridgeOf = (text: string | null): string | null => {
    const first = text?.split(', ')[0] ?? ''
    if (!known.has(first)) known.set(first, find(first))
    return known.get(first) ?? null
  }
  // Of a source that is a name, where there is but one network inside.
  const [first = null, ...others] = new Set(behind.map(([name]) => name))
  const only = others.length === 0 ? first : null
  const forwards = rows.filter(({ kind }) => kind === 'forward')
  const ofGuest = new Map(forwards.map(({ guest, inner }) => [guest?.vmid, bridgeOf(inner.address)]))
  const outOf = ({ source, guest }: Row): string | null =>
    bridgeOf(source) ?? only ?? (guest && ofGuest.get(guest.vmid)) ?? null
  return rows.map((row) => ({
    ...row,
    via: row.kind === 'forward' ? bridgeOf(row.inner.address) : outOf(row),
  }))
}

export function pageStatus({ status }: Published): PageStatus {
  return status ? { ...status, diagnostics: undefined } : null
}

/** What is worst comes first. */
export function pageProblems({ status }: Published): Problem[] {
  return [...(status?.diagnostics ?? [])].sort(worstFirst)
}

export function pageCounters(counters: Counters | undefined, history: History, now: number): PageCounters {
  const rules = [...(counters?.rules ?? [])].flatMap(([id, [packets]]): [string, [number, number]][] =>
    packets > 0 ? [[id, [packets, history.hour(id, now)]]] : [],
  )
  return { at: counters?.at ?? null, rules: Object.fromEntries(rules) }
}

export function pageMinutes(id: string, { of, since }: History, now: number): PageRule['minutes'] {
  const first = MINUTES - 1 - (Math.floor(now / 60_000) - Math.floor((since ?? now) / 60_000))
  return of(id, now).map((count, i) => (i < first ? null : count))
}
