/** The NAT rules as rows: what `pvenat list` prints. */
import { join } from 'node:path'
import { formatRange, sameRange, type Family, type Range } from '../address.ts'
import { clip } from '../diagnostic.ts'
import type { NatRule } from '../nat/nat-rule.ts'
import { innerPorts } from '../nat/pieces.ts'
import type { ExternalInterface } from '../network.ts'
import type { Outcome } from '../pipeline.ts'
import type { PortRange } from '../ports.ts'
import type { Installed } from '../ruleset/installed.ts'
import type { Ruleset } from '../ruleset/ruleset.ts'
import { countedRules, missingRules } from './installed.ts'
import type { UplinkCounters } from './uplink-counters.ts'
import { printable } from './diagnostics.ts'

/** `partial`: some of its ports are forwarded by another rule. `pending`: the kernel does not hold it yet. */
export const ROW_STATES = [
  'active',
  'partial',
  'pending',
  'inactive',
  'error',
  'conflict',
  'quarantined',
] as const
export type RowState = (typeof ROW_STATES)[number]

/** `pending`: ids of the NAT rules that the kernel does not hold. An active rule that lost some of its ports has a reason. */
export function rowState({ id, state, reason }: NatRule, pending?: ReadonlySet<string>): RowState {
  if (state !== 'active') return state
  return pending?.has(id) ? 'pending' : reason === '' ? 'active' : 'partial'
}

/** One row; keys in this order. */
export interface Row {
  id: string
  kind: NatRule['kind']
  state: RowState
  reason: string
  guest: { vmid: number; name: string } | null
  proto: string[]
  external: { addresses: string[] | 'any'; ports: PortRange[] | null; interface: string | null }
  inner: { address: string | null; ports: PortRange[] | null }
  source: string
  family: Family[]
  file: string
  line: number
  comment: string
  packets: number
  bytes: number
  /** Its external ports are those that NAT auto came to. */
  given: boolean
  /** Uplinks by which it leaves, or by which its answers leave; none where there is one uplink. */
  uplinks: string[]
}

interface Counters {
  packets: number
  bytes: number
}

/** Packets and bytes of each NAT rule that has rules in the nat table; 0 for those that are not in force as wanted. */
export function countersOf(ruleset: Ruleset, installed: Installed): Map<string, Counters> {
  const counters = new Map<string, Counters>()
  for (const { chain, rule, packets, bytes } of countedRules(ruleset, installed)) {
    const { serves, originalDestination } = rule
    // An accept in the filter table counts the same packets once more; the masquerade of snat=1 meets what its forward counted.
    if (chain.table !== 'nat' || serves === undefined || originalDestination) continue
    const before = counters.get(serves) ?? { packets: 0, bytes: 0 }
    counters.set(serves, { packets: before.packets + packets, bytes: before.bytes + bytes })
  }
  return counters
}

/** Every NAT rule as a row, as it will be when the kernel holds it. */
export function listRows(outcome: Listable, pveDir: string): Row[] {
  return outcome.translation.rules.map((rule) => toRow(rule, outcome, pveDir))
}

type Listable = Pick<Outcome, 'translation' | 'view' | 'foreseen'>

/** Every NAT rule as a row, as the kernel has it, counters included. */
export function installedRows(outcome: Outcome, installed: Installed, pveDir: string): Row[] {
  const counters = countersOf(outcome.ruleset, installed)
  const pending = missingRules(outcome.ruleset, installed)
  return outcome.translation.rules.map((rule) => {
    const row = { ...toRow(rule, outcome, pveDir), ...counters.get(rule.id), state: rowState(rule, pending) }
    return row.state === 'pending' ? { ...row, reason: row.reason || 'the kernel does not hold it yet' } : row
  })
}

/** The text of `list --json` and of list.json. */
export function renderListJson(rows: readonly Row[]): string {
  return `${JSON.stringify(rows, null, 1)}\n`
}

/** Rows as JSON texts, to keep thousands of them and find those that differ: most stay the same from pass to pass. */
export interface Listed {
  /** Without counters, by NAT rule. */
  texts: ReadonlyMap<NatRule, string>
  /** What they rest on besides their rule. */
  inputs: string
}

/** As `listRows`. */
export function listTexts(outcome: Outcome, pveDir: string, before?: Listed): Listed {
  const { translation, view, foreseen } = outcome
  const inputs = [
    pveDir,
    ...view.network.external.flatMap(({ name, addresses }) => [name, ...addresses.map(formatRange)]),
    ...[...foreseen].flat(),
  ].join()
  const known = before?.inputs === inputs ? before.texts : undefined
  const texts = new Map(
    translation.rules.map((rule) => [rule, known?.get(rule) ?? rowText(toRow(rule, outcome, pveDir))]),
  )
  return { texts, inputs }
}

export function rowText(row: Row): string {
  return JSON.stringify({ ...row, packets: 0, bytes: 0 })
}

/** No text of a comment holds it: quotes in a string are escaped. */
const NOT_COUNTED = '"packets":0,"bytes":0'

export function rowOf(text: string): Row {
  return JSON.parse(text) as Row
}

/** The same rows as `renderListJson`, a line each. */
export function renderTexts({ texts }: Listed, counters: ReadonlyMap<string, Counters>): string {
  const lines = [...texts].map(([{ id }, text]) => {
    const { packets, bytes } = counters.get(id) ?? { packets: 0, bytes: 0 }
    return text.replace(NOT_COUNTED, `"packets":${packets},"bytes":${bytes}`)
  })
  return `[\n${lines.join(',\n')}\n]\n`
}

/** The text of counters.json: `{at, rules: {ID: [packets, bytes]}, uplinks: {NAME: [came, left, bytes]}}`. */
export function renderCountersJson(
  at: string,
  counters: ReadonlyMap<string, Counters>,
  uplinks: ReadonlyMap<string, UplinkCounters>,
): string {
  const rules = [...counters].map(([id, { packets, bytes }]): [string, number[]] => [id, [packets, bytes]])
  return `${JSON.stringify({ at, rules: Object.fromEntries(rules), uplinks: Object.fromEntries(uplinks) })}\n`
}

function toRow(rule: NatRule, { view, foreseen }: Listable, pveDir: string): Row {
  const { external } = view.network
  const { forwards, egresses, blocks, scope } = rule
  const all = [...forwards, ...egresses, ...blocks]
  return {
    id: rule.id,
    kind: rule.kind,
    state: rowState(rule),
    reason: printable(rule.reason || (foreseen.get(rule.id) ?? '')),
    guest: scope.kind === 'guest' ? { vmid: scope.guest.vmid, name: clip(scope.guest.name) } : null,
    proto: distinct(all.map(({ proto }) => proto ?? 'all')),
    external: {
      addresses: addressesOf(
        rule,
        external.flatMap(({ addresses }) => addresses),
      ),
      ports: rangesOf(forwards.length > 0 ? forwards.map(({ ports }) => ports) : (rule.asked?.ports ?? [])),
      interface: rule.askedInterface ?? outOf(rule),
    },
    inner: {
      address: distinct(forwards.map(({ inner }) => formatRange(inner))).join(', ') || null,
      ports: rangesOf(forwards.map(innerPorts)),
    },
    source: clip(rule.source),
    family: distinct(all.map(({ family }) => family)),
    file: join(pveDir, rule.place.file),
    line: rule.place.span.line,
    comment: clip(rule.comment),
    packets: 0,
    bytes: 0,
    given: rule.asked?.kind === 'auto',
    uplinks: uplinksOf(rule, external),
  }
}

function uplinksOf({ forwards, egresses }: NatRule, external: readonly ExternalInterface[]): string[] {
  if (external.length < 2) return []
  const called = forwards.flatMap((forward) => forward.external)
  return external
    .filter(({ name, addresses }) => {
      const isCalled = addresses.some((own) => called.some((address) => sameRange(own, address)))
      return isCalled || egresses.some(({ out }) => out.includes(name))
    })
    .map(({ name }) => name)
}

/** `any`: whichever address the node has, also when it has none just now. */
function addressesOf({ forwards, egresses, asked }: NatRule, external: readonly Range[]): string[] | 'any' {
  const one = asked?.address ?? asked?.network
  if (one) return [formatRange(one)]
  const named = distinct(
    [...forwards.flatMap((forward) => forward.external), ...egresses.flatMap(({ to }) => to ?? [])].map(
      formatRange,
    ),
  )
  const every = external
    .filter(({ family }) => forwards.some((forward) => forward.family === family))
    .map(formatRange)
  return named.length === 0 || every.every((one) => named.includes(one)) ? 'any' : named
}

function outOf({ egresses }: NatRule): string | null {
  return distinct(egresses.flatMap(({ out }) => out)).join(',') || null
}

function rangesOf(list: readonly (PortRange | undefined)[]): PortRange[] | null {
  const ranges = new Map(list.flatMap((range) => (range ? [[range.join(), range]] : [])))
  return ranges.size > 0 ? [...ranges.values()] : null
}

function distinct<T>(list: readonly T[]): T[] {
  return [...new Set(list)]
}
