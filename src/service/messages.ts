/** The messages of the service in the journal: each event in one line, once when it comes and once when it is over. */
import { failureReason } from '../node/failure.ts'
import type { Applied } from '../node/apply.ts'
import type { Backend } from '../facts/backend.ts'
import { findWriter } from '../node/writer.ts'
import type { StaleFile } from '../read.ts'
import { isEmpty, type Plan } from '../ruleset/plan.ts'
import { describeRow, type RowChange } from '../show/changes.ts'
import type { Located } from '../show/diagnostics.ts'
import type { Row } from '../show/list.ts'
import { whereCell } from '../show/table.ts'
import { dotted } from '../sysctls.ts'
import { bounded, sayDiagnostics, type Journal } from './journal.ts'
import type { RepairBackoff } from './repair-backoff.ts'

/** A program that keeps undoing repairs writes again within this time. */
const WRITER_MS = 2000
/** Lines of one kind that a person reads; commands show the rest. */
const MAX_SAID = 10

export interface Messages {
  /** Rules were written: the desired ruleset changed, or another program changed the installed one. */
  applied: (applied: Applied, changes: readonly RowChange[], isRepair: boolean, tookMs: number) => void
  /** Rules were put back while nothing can be read. */
  putBack: (plan: Plan) => void
  /** At the start: the saved ruleset was not in force. */
  restored: (plan: Plan, tookMs: number) => void
  /** At the end of a look that went well. */
  passed: (diagnostics: readonly Located[], stale: readonly StaleFile[]) => void
  /** A look did not go to its end; returns why. */
  failed: (error: unknown) => string
  /** `plan` had to be put back; tells the other program when that goes on. */
  repaired: (plan: Plan) => void
}

export function makeMessages(
  journal: Journal,
  backoff: RepairBackoff,
  backend: () => Backend,
  now: () => number = Date.now,
): Messages {
  const journalOf = bounded(journal, now)
  let degraded = ''
  let diagnostics = new Map<string, Located>()
  let stale = new Map<string, string>()
  const repaired = ({ changes }: Plan): void => {
    const what = list(changes.map(({ kind, what: name }) => (kind === 'hook' ? `the hook of ${name}` : name)))
    if (!backoff.repaired(what)) return
    void findWriter(backend(), WRITER_MS).then((writer) =>
      journal.warning(
        `another program${writer === undefined ? '' : ` (${writer})`} keeps changing ${what}; it is repaired less and less often`,
      ),
    )
  }
  const putBack = (plan: Plan): void => {
    journal.info(`repaired drift: ${describe(plan)}`)
    repaired(plan)
  }
  return {
    putBack,
    repaired,
    restored: (plan, tookMs) =>
      journal.info(`in force: the saved ruleset (${describe(plan)}) in ${Math.round(tookMs)} ms`),
    applied({ plan, sysctls }, changes, isRepair, tookMs) {
      for (const path of sysctls) journal.info(`switched on ${dotted(path)}`)
      if (isEmpty(plan)) return
      if (isRepair) return putBack(plan)
      const guests = new Set(changes.map(guestOfChange))
      const [first = 0] = guests
      const own = journalOf(guests.size === 1 ? first : 0)
      own.info(`in force: ${count(changes)} (${describe(plan)}) in ${Math.round(tookMs)} ms`)
      for (const change of changes.slice(0, MAX_SAID))
        journalOf(guestOfChange(change)).info(changeLine(change))
      if (changes.length > MAX_SAID) own.info(`and ${changes.length - MAX_SAID} more rules: pvenat list`)
    },
    passed(located, files) {
      if (degraded !== '') journal.info(`in sync again, after: ${degraded}`)
      degraded = ''
      stale = sayStale(journal, stale, files)
      diagnostics = sayDiagnostics(journalOf, diagnostics, located)
    },
    failed(error) {
      const reason = failureReason(error)
      if (!isSameTrouble(reason, degraded)) journal.error(reason)
      degraded = reason
      return reason
    },
  }
}

/** A system that runs out of these fails now here, now there. */
const SCARCE = /\b(EMFILE|ENFILE|ENOMEM|EAGAIN)\b/

function isSameTrouble(one: string, other: string): boolean {
  const [scarce] = SCARCE.exec(one) ?? []
  return one === other || (scarce !== undefined && scarce === SCARCE.exec(other)?.[0])
}

/** `2 rules added, 1 gone`. */
function count(changes: readonly RowChange[]): string {
  const said = (['added', 'moved', 'changed', 'gone'] as const)
    .map((kind) => [changes.filter((one) => one.kind === kind).length, kind] as const)
    .filter(([n]) => n > 0)
    .map(([n, kind], i) => (i > 0 ? `${n} ${kind}` : `${n} rule${n === 1 ? '' : 's'} ${kind}`))
  return said.join(', ') || 'no rule changed'
}

/** `forward added: :2222/tcp -> 105 (web) 10.10.10.105:22, by 105.fw:7`. */
function changeLine({ kind, before, after }: RowChange): string {
  const row = (after ?? before) as Row
  const was = kind === 'moved' && before ? `, before ${describeRow(before, '->')}` : ''
  return `${WORDS[row.kind]} ${kind}: ${describeRow(row, '->')}${was}, by ${whereCell(row)}`
}

function guestOfChange({ before, after }: RowChange): number {
  return (after ?? before)?.guest?.vmid ?? 0
}

const WORDS = { forward: 'forward', egress: 'egress', exempt: 'exemption', block: 'block' }

function describe({ changes }: Plan): string {
  return list(changes.map(({ kind, what }) => `${kind} ${what}`))
}

function list(words: readonly string[]): string {
  const more = words.length - MAX_SAID
  return [...words.slice(0, MAX_SAID), ...(more > 0 ? [`${more} more`] : [])].join(', ')
}

/** Files that cannot be read; their last text stands. */
function sayStale(
  journal: Journal,
  before: ReadonlyMap<string, string>,
  files: readonly StaleFile[],
): Map<string, string> {
  const now = new Map(files.map(({ file, reason }) => [file, reason]))
  for (const [file, reason] of now) {
    if (before.get(file) !== reason) journal.error(`${reason}; what it said before stays in force`)
  }
  for (const file of before.keys()) if (!now.has(file)) journal.info(`${file} can be read again`)
  return now
}
