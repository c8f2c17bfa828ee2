/** What the page is given, made of what the service publishes. */
import { contains, parseCidr, parseIp, parseRange } from '../address.ts'
import { worstFirst } from '../diagnostic.ts'
import type { Row } from '../show/list.ts'
import type { RuleAnswer } from '../node/asking.ts'
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

export function pageRows({ rows = [], status }: Published): PageRow[] {
  const networks = (status?.internal ?? []).map((one) => [one.interface, parseCidr(one.network)] as const)
  const bridgeOf = (text: string | null): string | null => {
    const [first = ''] = (text ?? '').split(', ')
    const inside = parseIp(first) ?? parseRange(first)
    return networks.find(([, network]) => inside && network && contains(network, inside))?.[0] ?? null
  }
  // A way out of a guest leaves by the bridge on which its forwards end, another by the only one that there is.
  const forwards = rows.filter(({ kind, guest }) => kind === 'forward' && guest)
  const ofGuest = new Map(forwards.map(({ guest, inner }) => [guest?.vmid, bridgeOf(inner.address)]))
  const [only = null, ...others] = new Set(networks.map(([bridge]) => bridge))
  const wayOut = ({ source, guest }: Row): string | null =>
    bridgeOf(source) ?? (others.length === 0 ? only : (ofGuest.get(guest?.vmid) ?? null))
  return rows.map((row) => ({
    ...row,
    via: row.kind === 'forward' ? bridgeOf(row.inner.address) : wayOut(row),
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
  const first = MINUTES - 1 - (Math.floor(now / 60_000) - Math.floor((since() ?? now) / 60_000))
  return of(id, now).map((count, i) => (i < first ? null : count))
}
