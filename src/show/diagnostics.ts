/** Diagnostics as a person or a program reads them. Line and column are computed here and nowhere else. */
import { isAbsolute, join } from 'node:path'
import { ascending, groupBy } from '../lists.ts'
import { columnsOf, head, tail } from './columns.ts'
import { SEVERITIES, word, type Diagnostic, type Severity } from '../diagnostic.ts'

/** Bytes (latin1) of the files that diagnostics point into, by the path that they use. */
export type Sources = ReadonlyMap<string, string>

/** A diagnostic of `check --json`; keys in this order. Columns count characters from 0; `endColumn` is behind the last. */
export interface Located {
  file: string
  line: number
  /** Counted from 1, as editors do; `endColumn` is the first one behind the word. */
  column: number
  endColumn: number
  severity: Severity
  code: string
  message: string
  help: string | undefined
  /** What of the help can be typed as it is, the likeliest first. */
  proposals: string[]
}

/** Makes what a user typed harmless on a terminal: control characters, also those of bidirectional text, become visible. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (char) =>
    char === '\t' ? ' ' : '\ufffd',
  )
}

/** Sorted by file, line and column. */
export function locate(diagnostics: readonly Diagnostic[], sources: Sources, pveDir: string): Located[] {
  const lines = new Map(
    [...new Set(diagnostics.map(({ place }) => place.file))].map((file) => [file, linesOf(sources, file)]),
  )
  const located = diagnostics.map((diagnostic): Located => {
    const { file, span } = diagnostic.place
    const line = lines.get(file)?.[span.line - 1] ?? ''
    const column = decode(line.slice(0, span.from)).length + 1
    const { severity, message, help, proposals } = word(diagnostic)
    return {
      file: isAbsolute(file) ? file : join(pveDir, file),
      line: span.line,
      column,
      endColumn: column + decode(line.slice(span.from, span.to)).length,
      severity,
      code: diagnostic.code,
      message: printable(message),
      help: help === undefined ? undefined : printable(help),
      proposals: proposals.map(printable),
    }
  })
  return located.sort(
    (a, b) =>
      ascending(a.file, b.file) || a.line - b.line || a.column - b.column || ascending(a.code, b.code),
  )
}

/** The form with the line and a caret under the very word. */
export function renderDiagnostic(located: Located, sources: Sources, pveDir: string, paint: Paint): string {
  const { file, line, column, endColumn, severity, code, message, help } = located
  const { shown, from, to } = window(lineOf(located, sources, pveDir), column - 1, endColumn - 1)
  const number = String(line).padStart(5)
  const caret = ' '.repeat(from) + '^'.repeat(Math.max(1, to - from))
  return [
    `${printable(file)}:${line}:${column}: ${paint(severity, `${severity}[${code}]`)}: ${message}`,
    `${number} | ${shown}`,
    `${' '.repeat(5)} | ${paint(severity, caret)}`,
    ...(help === undefined ? [] : [`   help: ${help}`]),
    '',
  ].join('\n')
}

const MAX_SHOWN_A_FILE = 20
const MAX_SHOWN = 200

/**
 * All that a person can take in: the first of each file and a count of its others, then how many there are in all. `all` is a
 * command that tells every one.
 */
export function renderDiagnostics(
  located: readonly Located[],
  sources: Sources,
  pveDir: string,
  paint: Paint,
  all: string,
): string {
  if (located.length === 0) return ''
  const files = groupBy(located, ({ file }) => file)
  let room = MAX_SHOWN
  let text = ''
  let hidden = 0
  for (const [file, list] of files) {
    const shown = list.slice(0, Math.min(MAX_SHOWN_A_FILE, room))
    room -= shown.length
    text += shown.map((one) => renderDiagnostic(one, sources, pveDir, paint)).join('')
    const more = list.length - shown.length
    if (shown.length > 0 && more > 0) text += `${printable(file)}: and ${more} more\n`
    hidden += more
  }
  const said = hidden === 0 ? '' : `; ${hidden} of them are not shown: ${all}`
  return `${text}${summary(located)}${said}\n`
}

function summary(located: readonly Located[]): string {
  const count = (severity: Severity): number => located.filter((one) => one.severity === severity).length
  return SEVERITIES.map((severity) => [count(severity), severity] as const)
    .filter(([n]) => n > 0)
    .map(([n, severity]) => `${n} ${severity}${n > 1 && severity !== 'info' ? 's' : ''}`)
    .join(', ')
}

/** The line that a diagnostic points into, as long as it is; nothing in it can harm a terminal. */
export function lineOf(
  { file, line }: Pick<Located, 'file' | 'line'>,
  sources: Sources,
  pveDir: string,
): string {
  const relative = sources.has(file) ? file : file.slice(join(pveDir, '/').length)
  return printable(decode(linesOf(sources, relative)[line - 1] ?? ''))
}

/** Colours a text by severity, or leaves it. */
export type Paint = (severity: Severity, text: string) => string

const COLOURS: Record<Severity, string> = { error: '31', warning: '33', info: '36' }
export const plain: Paint = (_, text) => text
export const coloured: Paint = (severity, text) => `\u001b[1;${COLOURS[severity]}m${text}\u001b[0m`

const MAX_COLUMNS = 160
const COLUMNS_BEFORE = 40

/** The part of a long line around its caret, with ellipses where it goes on, and the columns of the caret in it. */
function window(
  text: string,
  column: number,
  endColumn: number,
): { shown: string; from: number; to: number } {
  const [before, word] = [text.slice(0, column), text.slice(column, endColumn)]
  if (text.length <= MAX_COLUMNS && columnsOf(text) <= MAX_COLUMNS) {
    const from = columnsOf(before)
    return { shown: text, from, to: from + columnsOf(word) }
  }
  const last = tail(before, COLUMNS_BEFORE)
  const start = last === before ? before : `…${last}`
  const room = MAX_COLUMNS - columnsOf(start)
  const rest = text.slice(column)
  const first = head(rest, room)
  const from = columnsOf(start)
  const to = from + columnsOf(first.slice(0, word.length))
  return { shown: start + first + (first === rest ? '' : '…'), from, to }
}

function linesOf(sources: Sources, file: string): string[] {
  return sources.get(file)?.split('\n') ?? []
}

function decode(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
