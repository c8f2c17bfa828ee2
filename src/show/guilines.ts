/**
 * The answer in the GUI: what a save came to, as lines of the firewall log (Guest > Firewall > Log shows those that begin with the VMID,
 * Node > Firewall > Log shows all). A guest's lines hold nothing of other guests.
 */
import { clip, fileName, word, worstFirst } from '../diagnostic.ts'
import type { Diagnostic, Place, Severity } from '../diagnostic.ts'
import { ruleAt } from '../facts/fixes.ts'
import { ascending } from '../lists.ts'
import { CLUSTER_FW, guestOfFile, hostFw, type View } from '../nat/view.ts'
import type { Settings } from '../settings.ts'
import { describeRow, type RowChange } from './changes.ts'
import { printable } from './diagnostics.ts'
import type { Row } from './list.ts'
import { externalCell, innerCell } from './cells.ts'

/** One line without its time. VMID 0 is the node. */
export interface GuiLine {
  vmid: number
  severity: Severity
  text: string
}

/** What is said at present of one file, by the words of it: lines move when others come and go above them. */
export type Standing = ReadonlyMap<string, GuiLine>

/** What is said of the rules now. */
export function standing(diagnostics: readonly Diagnostic[], view: View): Map<string, GuiLine> {
  const lines = new Map<string, GuiLine>()
  for (const diagnostic of [...diagnostics].sort(byPlace)) {
    const { code, place } = diagnostic
    const vmid = guestOfFile(place.file)
    const { severity, message, help } = word(diagnostic, vmid !== 0)
    const text = `${LABELS[severity]}: ${message}${help === undefined ? '' : `; ${help}`}${ruleName(place, view)}`
    lines.set(wordsKey(place.file, code, word(diagnostic).message), { vmid, severity, text })
  }
  return lines
}

function byPlace({ place: a }: Diagnostic, { place: b }: Diagnostic): number {
  return ascending(a.file, b.file) || a.span.line - b.span.line || a.span.from - b.span.from
}

/** The key of `Standing`, also for what was published by a service before. */
export function wordsKey(file: string, code: string, message: string): string {
  return `${fileName(file)} ${code} ${printable(message)}`
}

/** The lines of one pass: what is in force anew, what no longer is, what came up and what is over. */
export function linesOf(
  changes: readonly RowChange[],
  before: Standing,
  now: Standing,
  view: View,
  guiLog: Settings['guiLog'],
): GuiLine[] {
  if (guiLog === 'no') return []
  const come = [...now].filter(([key]) => !before.has(key)).map(([, line]) => line)
  const gone = [...before].filter(([key]) => !now.has(key)).map(([, line]) => line)
  const isTold = ({ severity }: GuiLine): boolean => guiLog === 'yes' || severity === 'error'
  return [
    ...(guiLog === 'yes' ? changes.map((change) => changeLine(change, view)) : []),
    ...come.filter(isTold).sort(worstFirst),
    ...gone
      .filter(isTold)
      .map((line) => ({ ...line, severity: 'info' as const, text: `over: ${line.text}` })),
  ]
}

const LABELS: Readonly<Record<Severity, string>> = { error: 'error', warning: 'warning', info: 'note' }

/** `applied: :2222/tcp -> 10.10.10.105:22 (rule 1, NAT 2222)`. */
function changeLine({ kind, before, after }: RowChange, view: View): GuiLine {
  const row = (after ?? before) as Row
  const effect =
    row.kind === 'forward'
      ? `${externalCell(row)} -> ${innerCell(row)}${row.source === '' ? '' : ` from ${row.source}`}`
      : describeRow(row, '->')
  const place = { file: row.file, span: { line: row.line, from: 0, to: 0 } }
  const name = kind === 'gone' ? commentName(row.comment) : ruleName(place, view)
  const verb = kind === 'gone' ? 'removed' : row.state === 'partial' ? 'applied in part' : 'applied'
  const text = `${verb}: ${effect}${name}`
  return { vmid: row.guest?.vmid ?? 0, severity: 'info', text }
}

/** ` (rule 1, NAT 2222)`: its place in the list as the GUI counts, from 0, and its comment. */
function ruleName({ file, span: { line } }: Place, view: View): string {
  const found = ruleAt(view, file, line)
  if (!found) return ''
  const { rule, position, group } = found
  const scope = file.endsWith(CLUSTER_FW) ? 'datacenter ' : file.endsWith(hostFw(view.node)) ? 'node ' : ''
  const within = group === undefined ? '' : ` of group ${group}`
  const comment = rule.comment === undefined ? '' : `, ${clip(rule.comment, MAX_COMMENT_CHARS)}`
  return ` (${scope}rule ${position}${within}${comment})`
}

function commentName(comment: string): string {
  return comment === '' ? '' : ` (${clip(comment, MAX_COMMENT_CHARS)})`
}

const MAX_COMMENT_CHARS = 60
const MAX_LINE_CHARS = 600

/** As syslog counts. */
export const SYSLOG_LEVELS: Readonly<Record<Severity, number>> = { error: 3, warning: 4, info: 6 }

/** The line as pvefw-logger writes its own: `VMID LEVEL CHAIN DD/Mon/YYYY:HH:MM:SS +ZZZZ TEXT`. No text can end it early. */
export function logLine({ vmid, severity, text }: GuiLine, at: Date): string {
  return `${vmid} ${SYSLOG_LEVELS[severity]} NAT ${logTime(at)} ${clip(printable(text), MAX_LINE_CHARS)}\n`
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const

/** `30/Nov/2026:07:12:05 +0100`, in the node's own time. */
function logTime(at: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const date = `${two(at.getDate())}/${MONTHS[at.getMonth()]}/${at.getFullYear()}`
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':')
  const minutes = -at.getTimezoneOffset()
  const zone = `${minutes < 0 ? '-' : '+'}${two(Math.floor(Math.abs(minutes) / 60))}${two(Math.abs(minutes) % 60)}`
  return `${date}:${time} ${zone}`
}
