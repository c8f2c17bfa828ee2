/** Figures in the text form of Prometheus. Names and labels are stable, because dashboards use them. */
import { formatPorts } from '../ports.ts'
import { VERSION } from '../version.ts'
import type { Row } from './list.ts'
import { SILENT_MS } from './silence.ts'
import type { UplinkCounters } from './uplink-counters.ts'
import type { Status } from './status.ts'

type Labels = Record<string, string>
type Sample = [value: number, labels?: Labels]

interface Metric {
  name: string
  type: 'gauge' | 'counter'
  help: string
  samples: Sample[]
}

/** What the service publishes, as far as it is told here. */
interface Published {
  status: Status | undefined
  rows: readonly Row[] | undefined
  counters:
    | {
        rules: ReadonlyMap<string, readonly [packets: number, bytes: number]>
        uplinks?: ReadonlyMap<string, UplinkCounters>
      }
    | undefined
}

/** Rules with a series of their own when nothing else is said: those with the most connections. */
export const DEFAULT_TOP = 50

/** `now` in milliseconds; `top`: how many rules have series of their own, the rest being one. */
export function renderMetrics(published: Published, now: number, top: number): string {
  const all = [
    ...statusMetrics(published.status, now),
    ...ruleMetrics(published, top),
    ...uplinkMetrics(published),
  ]
  return all
    .filter(({ samples }) => samples.length > 0)
    .map(render)
    .join('')
}

function statusMetrics(status: Status | undefined, now: number): Metric[] {
  const build = gauge('build_info', 'Always 1; the version of pvenat is a label.', [1, { version: VERSION }])
  const up = gauge('up', 'Whether the service has said how it is within the last 30 seconds.', [
    status && status.pid !== null && now - Date.parse(status.updatedAt) < SILENT_MS ? 1 : 0,
  ])
  if (!status) return [build, up]
  const { lastApply, applyMs, lockMs, repairs, counts } = status
  const perKey = (record: Record<string, number>, label: string): Sample[] =>
    Object.entries(record).map(([key, value]) => [value, { [label]: key }])
  return [
    build,
    up,
    gauge('in_step', 'Whether the kernel holds what the rules ask for.', [status.inStep ? 1 : 0]),
    gauge('degraded', 'Whether something keeps the service from its work; what was in force stays.', [
      status.degraded === null ? 0 : 1,
    ]),
    gauge(
      'last_apply_age_seconds',
      'Seconds since something was last written into the kernel.',
      ...since(lastApply, now),
    ),
    gauge('apply_duration_seconds', 'How long the last apply took.', ...seconds(applyMs)),
    gauge(
      'lock_hold_seconds',
      "For how long the last apply held pve-firewall's lock at most.",
      ...seconds(lockMs),
    ),
    counter('applies_total', 'How often the kernel was written.', [status.applies]),
    counter('repairs_total', 'What somebody else had changed and was put back.', ...perKey(repairs, 'kind')),
    gauge('rules', 'Rules marked NAT by their state.', ...perKey(counts, 'state')),
    gauge('diagnostics', 'Problems of what was typed, by code.', ...byCode(status)),
  ]
}

function byCode({ diagnostics }: Status): Sample[] {
  const counts = new Map<string, { severity: string; count: number }>()
  for (const { code, severity } of diagnostics)
    counts.set(code, { severity, count: (counts.get(code)?.count ?? 0) + 1 })
  return [...counts].sort().map(([code, { severity, count }]) => [count, { code, severity }])
}

/** A rule that goes from the rest to the top would make a counter of the rest jump back, so the rest is a gauge. */
function ruleMetrics({ rows = [], counters }: Published, top: number): Metric[] {
  const counted = rows.flatMap((row): { row: Row; packets: number; bytes: number }[] => {
    const pair = counters?.rules.get(row.id)
    return pair ? [{ row, packets: pair[0], bytes: pair[1] }] : []
  })
  counted.sort((a, b) => b.packets - a.packets || (a.row.id < b.row.id ? -1 : 1))
  const rest = counted.slice(top)
  const sum = (key: 'packets' | 'bytes'): number => rest.reduce((total, one) => total + one[key], 0)
  const samples = (key: 'packets' | 'bytes'): Sample[] =>
    counted.slice(0, top).map((one) => [one[key], labelsOf(one.row)])
  return [
    counter(
      'rule_packets_total',
      'Packets that a rule has translated: the first of each connection.',
      ...samples('packets'),
    ),
    counter('rule_bytes_total', 'Bytes in those packets.', ...samples('bytes')),
    gauge(
      'other_rules_packets',
      'The same of all rules without a series of their own; use deriv(), not rate().',
      [sum('packets')],
    ),
    gauge('other_rules_bytes', 'Bytes in those packets.', [sum('bytes')]),
    gauge('other_rules', 'Rules without a series of their own.', [rest.length]),
  ]
}

/** Where there are several uplinks. */
function uplinkMetrics({ counters }: Published): Metric[] {
  const uplinks = [...(counters?.uplinks ?? [])]
  const connections = uplinks.flatMap(([uplink, [came, left]]): Sample[] => [
    [came, { uplink, direction: 'in' }],
    [left, { uplink, direction: 'out' }],
  ])
  const bytes = uplinks.map(([uplink, [, , sent]]): Sample => [sent, { uplink }])
  return [
    counter(
      'uplink_connections_total',
      'Connections that came to the addresses of an uplink, and those of guests that left by it.',
      ...connections,
    ),
    counter('uplink_bytes_total', 'Bytes of such connections that left by an uplink.', ...bytes),
  ]
}

/** What stays the same as long as the rule does; its line number is not among them. */
function labelsOf({ id, kind, guest, proto, external, inner }: Row): Labels {
  const address = external.addresses === 'any' ? '' : external.addresses.join(',')
  return {
    rule: id,
    kind,
    vmid: guest ? String(guest.vmid) : '',
    guest: guest?.name ?? '',
    proto: proto.join(','),
    address,
    ports: formatPorts(external.ports ?? []),
    inner: inner.address ?? '',
    inner_ports: formatPorts(inner.ports ?? []),
  }
}

const since = (iso: string | null, now: number): Sample[] =>
  iso === null ? [] : [[Math.max(0, now - Date.parse(iso)) / 1000]]
const seconds = (ms: number | null | undefined): Sample[] => (typeof ms === 'number' ? [[ms / 1000]] : [])

function gauge(name: string, help: string, ...samples: Sample[]): Metric {
  return { name: `pvenat_${name}`, type: 'gauge', help, samples }
}

function counter(name: string, help: string, ...samples: Sample[]): Metric {
  return { name: `pvenat_${name}`, type: 'counter', help, samples }
}

function render({ name, type, help, samples }: Metric): string {
  const lines = samples.map(([value, labels = {}]) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escapeLabel(text)}"`)
    return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${Number.isFinite(value) ? value : 'NaN'}\n`
  })
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

/** Guest names are somebody's text: the three characters that the form gives a meaning, and no half of a pair. */
function escapeLabel(text: string): string {
  return Buffer.from(text, 'utf8')
    .toString('utf8')
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('\n', '\\n')
}
