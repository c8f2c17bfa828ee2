/** Diagnostics as a person or a program reads them. Line and column are computed here and nowhere else. */
import { isAbsolute, join } from 'node:path'
import { word, type Diagnostic, type Severity } from '../diagnostic.ts'

/** Bytes (latin1) of the files that diagnostics point into, by the path that they use. */
export type Sources = ReadonlyMap<string, string>

/** A diagnostic of `check --json`; keys in this order. Columns count characters from 0; `endColumn` is behind the last. */
export interface Located {
  file: string
  line: number
  column: number
  endColumn: number
  severity: Severity
  code: string
  message: string
  help: string | undefined
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
    const column = decode(line.slice(0, span.from)).length
    const { severity, message, help } = word(diagnostic)
    return {
      ...{ file: isAbsolute(file) ? file : join(pveDir, file), line: span.line, column },
      ...{
        endColumn: column + decode(line.slice(span.from, span.to)).length,
        severity,
        code: diagnostic.code,
      },
      ...{ message: printable(message), help: help === undefined ? undefined : printable(help) },
    }
  })
  return located.sort(
    (a, b) => compare(a.file, b.file) || a.line - b.line || a.column - b.column || compare(a.code, b.code),
  )
}

/** The form with the line and a caret under the very word. */
export function renderDiagnostic(located: Located, sources: Sources, pveDir: string, paint: Paint): string {
  const { file, line, column, endColumn, severity, code, message, help } = located
  const text = lineOf(located, sources, pveDir)
  const { shown, from, to } = window(text, column, endColumn)
  const number = String(line).padStart(5)
  const caret = ' '.repeat(from) + '^'.repeat(Math.max(1, to - from))
  return [
    `${file}:${line}:${column}: ${paint(severity, `${severity}[${code}]`)}: ${message}`,
    `${number} | ${shown}`,
    `${' '.repeat(5)} | ${paint(severity, caret)}`,
    ...(help === undefined ? [] : [`   help: ${help}`]),
    '',
  ].join('\n')
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

const MAX_SHOWN_CHARS = 160

/** The part of a long line around its caret. */
function window(
  text: string,
  column: number,
  endColumn: number,
): { shown: string; from: number; to: number } {
  if (text.length <= MAX_SHOWN_CHARS) return { shown: text, from: column, to: endColumn }
  const start = Math.max(0, Math.min(column - 40, text.length - MAX_SHOWN_CHARS))
  const shown = text.slice(start, start + MAX_SHOWN_CHARS)
  return { shown, from: column - start, to: Math.min(endColumn - start, shown.length) }
}

function linesOf(sources: Sources, file: string): string[] {
  return sources.get(file)?.split('\n') ?? []
}

function decode(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
