/** How the node is: what `pvenat status` prints and the service publishes. */
import { FAMILIES, formatRange } from '../address.ts'
import { clip, worstFirst, type Severity } from '../diagnostic.ts'
import { isOn } from '../nat/marked.ts'
import type { FirewallMode } from '../nat/view.ts'
import type { Outcome } from '../pipeline.ts'
import type { Change } from '../ruleset/change.ts'
import { hex, markedUplinks, uplinkTroubles } from '../ruleset/uplinks.ts'
import { VERSION } from '../version.ts'
import { coloured, lineOf, plain, printable, type Located, type Paint, type Sources } from './diagnostics.ts'
import { ROW_STATES, rowState, type RowState } from './list.ts'
import { judge, summarizeRules, type Level, type RuleSummary, type Seen, type Verdict } from './verdict.ts'

/** What one look at the node tells. */
export interface NodeStatus {
  /** `disabled`: the firewall of the datacenter is off. Null while the node could not be looked at. */
  firewall: FirewallMode | 'disabled' | null
  external: { interface: string; addresses: string[] }[]
  /** `interface` is '' and `address` null of a network that the settings name and in which this node has no address. */
  internal: { interface: string; network: string; address: string | null }[]
  counts: Record<RowState, number>
  /** As `check --json` has them, and the line that each points into. */
  diagnostics: (Located & { text: string })[]
  rules: RuleSummary
  /** Several uplinks, each with what answers to its clients are led by; none where one uplink answers all. */
  uplinks: { interface: string; mark: string; table: number; gateways: string[]; down: boolean }[]
  /** The facts that keep answers from their uplinks. */
  troubles: string[]
}

/** What only the service knows. Times are ISO 8601. */
export interface ServiceStatus {
  inStep: boolean
  backend: 'legacy' | 'nft' | null
  /** Why this backend, a clause. */
  backendWhy?: string
  /** When something was last written into the kernel, the first look of the service included. */
  lastApply: string | null
  /** Why the service last could not do its work, also when it can again. */
  lastError: string | null
  degraded: string | null
  /** Since when it is in sync, or not. Null when that is not known. */
  since: string | null
  pid: number | null
  startedAt: string | null
  /** When this was said. */
  updatedAt: string
  /** How long the last apply took, and for how long it held pve-firewall's lock, in milliseconds. */
  applyMs: number | null
  lockMs: number | null
  /** How often something was written since the service started, and how often of what because somebody else had changed it. */
  applies: number
  repairs: Repairs
}

export type Repairs = Record<'chain' | 'hook' | 'set' | 'sysctl' | 'loop' | 'routing', number>

export const NO_REPAIRS: Repairs = { chain: 0, hook: 0, set: 0, sysctl: 0, loop: 0, routing: 0 }

/** What `status --json` prints; `toStatus` gives the keys their order. */
export interface Status extends NodeStatus, ServiceStatus, Verdict {
  node: string
  version: string
}

export const UNKNOWN_NODE: NodeStatus = {
  firewall: null,
  external: [],
  internal: [],
  counts: Object.fromEntries(ROW_STATES.map((state) => [state, 0])) as Record<RowState, number>,
  diagnostics: [],
  rules: { asked: 0, failing: 0, dead: 0, first: [] },
  uplinks: [],
  troubles: [],
}

/** `pending`: ids of the NAT rules that the kernel does not hold; none after an apply. */
export function nodeStatus(
  { view, translation, foreseen }: Pick<Outcome, 'view' | 'translation' | 'foreseen'>,
  located: readonly Located[],
  sources: Sources,
  pveDir: string,
  pending?: ReadonlySet<string>,
): NodeStatus {
  const { cluster, now, firewall, network } = view
  const counts = { ...UNKNOWN_NODE.counts }
  for (const rule of translation.rules) counts[rowState(rule, pending)]++
  return {
    firewall: isOn(cluster.options.enable, 0, now) ? firewall : 'disabled',
    external: network.external.map(({ name, addresses }) => ({
      interface: name,
      addresses: addresses.map(formatRange),
    })),
    internal: network.internal.map(({ bridge, network: range, address }) => ({
      interface: bridge,
      network: formatRange(range),
      address: address ? formatRange(address) : null,
    })),
    counts,
    diagnostics: located.map((one) => ({ ...one, text: clip(lineOf(one, sources, pveDir)) })),
    rules: summarizeRules(translation, located, foreseen),
    uplinks: uplinksOf(view),
    troubles: uplinkTroubles(view),
  }
}

function uplinksOf(view: Outcome['view']): NodeStatus['uplinks'] {
  const all = FAMILIES.flatMap((family) => markedUplinks(view, family))
  return [...new Set(all.map(({ name }) => name))].flatMap((name) => {
    const own = all.filter((one) => one.name === name)
    const gateways = own.map(({ way }) => way.gateway ?? 'no gateway')
    const [first] = own
    if (!first) return []
    const { mark, table } = first
    return { interface: name, mark: hex(mark), table, gateways, down: own.some(({ way }) => way.down) }
  })
}

/** Repairs of a plan that puts back what somebody else changed. */
export function countRepairs(
  changes: readonly Change[],
  sysctls: readonly string[],
  madeLoop: boolean,
): Repairs {
  const kindOf = ({ kind, what }: Change): keyof Repairs =>
    kind === 'hook'
      ? 'hook'
      : what.startsWith('set ')
        ? 'set'
        : what.startsWith('chain ')
          ? 'chain'
          : 'routing'
  const count = (kind: keyof Repairs): number => changes.filter((one) => kindOf(one) === kind).length
  return {
    chain: count('chain'),
    hook: count('hook'),
    set: count('set'),
    sysctl: sysctls.length,
    loop: madeLoop ? 1 : 0,
    routing: count('routing'),
  }
}

export function toStatus(node: string, look: NodeStatus, service: ServiceStatus, seen: Seen): Status {
  const { inStep, backend, lastApply, lastError, degraded } = service
  const { since, pid, startedAt, updatedAt, applyMs, lockMs, applies, repairs, backendWhy } = service
  const { firewall, external, internal, counts, diagnostics, rules, uplinks = [], troubles = [] } = look
  return {
    inStep,
    firewall,
    backend,
    lastApply,
    lastError,
    degraded,
    external,
    internal,
    counts,
    diagnostics,
    since,
    node,
    version: VERSION,
    pid,
    startedAt,
    updatedAt,
    applyMs,
    lockMs,
    applies,
    repairs,
    rules,
    ...judge({ inStep, degraded, rules, troubles, ...seen }),
    ...(backendWhy === undefined ? {} : { backendWhy }),
    uplinks,
    troubles,
  }
}

/** The text of status.json and of `status --json`. */
export function renderStatusJson(status: Status): string {
  return `${JSON.stringify(status, null, 1)}\n`
}

const MAX_SHOWN = 8

const SEVERITY: Record<Level, Severity> = { OK: 'info', WARNING: 'warning', CRITICAL: 'error' }

/** The one screen for people. */
export function renderStatus(status: Status, { isRunning, isCompared }: Seen, isColoured: boolean): string {
  const { counts, diagnostics, external, internal, firewall, level, reasons } = status
  const paint = isColoured ? coloured : plain
  const rows: [string, string][] = [
    ['service', serviceLine(status, isRunning)],
    ['kernel', isCompared ? stepLine(status) : 'not known whether it is in sync with the rules'],
    ['last apply', applyLine(status)],
    ['firewall', `${firewall ?? 'not known'}, ${backendLine(status)}`],
    ...named('external', external.map(externalLine)),
    ...named('uplinks', status.uplinks.map(uplinkLine)),
    ...named('internal', internal.map(internalLine)),
    ['rules', countsLine(counts)],
    ['repairs', repairsLine(status.repairs)],
  ]
  return [
    `pvenat ${status.version} on ${status.node}: ${paint(SEVERITY[level], level)}`,
    ...reasons.map((reason) => `  ${paint(SEVERITY[level], printable(reason))}`),
    ...rows.map(([name, text]) => `  ${name.padEnd(11)} ${text}`),
    ...problemLines(diagnostics, paint),
    '',
  ].join('\n')
}

function serviceLine({ pid, startedAt }: Status, isRunning: boolean | undefined): string {
  if (!isRunning) return isRunning === undefined ? 'not known; ask as root' : 'does not run'
  return `runs${pid === null ? '' : ` (process ${pid})`}${startedAt === null ? '' : ` since ${time(startedAt)}`}`
}

function backendLine({ backend, backendWhy }: Status): string {
  return `backend ${backend ?? 'not known'}${backendWhy === undefined ? '' : `: ${printable(backendWhy)}`}`
}

function stepLine({ inStep, since }: Status): string {
  return `${inStep ? 'in sync' : 'not in sync'} with the rules${since === null ? '' : ` since ${time(since)}`}`
}

function applyLine({ lastApply, applyMs, lockMs }: Status): string {
  if (lastApply === null) return 'not known'
  const took = applyMs === null ? '' : `, took ${applyMs} ms`
  return `${time(lastApply)}${took}${lockMs ? `, held pve-firewall's lock for ${lockMs} ms` : ''}`
}

function externalLine({ interface: name, addresses }: NodeStatus['external'][0]): string {
  return `${name} ${addresses.join(', ') || 'without an address'}`
}

function uplinkLine({ interface: name, mark, table, gateways, down }: NodeStatus['uplinks'][0]): string {
  return `${name} ${down ? 'is down' : `by ${gateways.join(' and ')}`}, mark ${mark}, table ${table}`
}

function internalLine({ interface: name, network, address }: NodeStatus['internal'][0]): string {
  return address === null ? `${network} (no address here)` : `${name} ${network} (here ${address})`
}

function countsLine(counts: NodeStatus['counts']): string {
  const said = Object.entries(counts).filter(([state, count]) => count > 0 || state === 'active')
  return said.map(([state, count]) => `${count} ${state}`).join(', ')
}

function repairsLine(repairs: Repairs): string {
  const said = Object.entries(repairs).filter(([, count]) => count > 0)
  return said.length === 0 ? 'none' : said.map(([kind, count]) => `${count} ${kind}`).join(', ')
}

function problemLines(diagnostics: Status['diagnostics'], paint: Paint): string[] {
  if (diagnostics.length === 0) return []
  const sorted = [...diagnostics].sort(worstFirst)
  const more = sorted.length - MAX_SHOWN
  return [
    '',
    ...sorted
      .slice(0, MAX_SHOWN)
      .flatMap(({ file, line, column, severity, code, message, help }) => [
        `${file}:${line}:${column}: ${paint(severity, `${severity}[${code}]`)}: ${message}`,
        ...(help === undefined ? [] : [`   help: ${help}`]),
      ]),
    ...(more > 0 ? [`and ${more} more; all of them: pvenat check`] : []),
  ]
}

/** The first lines, and how many more there are, below one name. */
function named(name: string, lines: readonly string[]): [string, string][] {
  const more = lines.length > MAX_SHOWN ? [`and ${lines.length - MAX_SHOWN} more`] : []
  return [...lines.slice(0, MAX_SHOWN), ...more].map((line, i) => [i === 0 ? name : '', line])
}

/** In the time of this machine, as `date` and the GUI show it. */
function time(iso: string): string {
  const date = new Date(iso)
  const two = (part: number): string => String(part).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`
}
