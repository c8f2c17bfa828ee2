/** The service's voice: one line per event on stdout, with the priority that journald understands. */
import type { Severity } from '../diagnostic.ts'
import type { Located } from '../show/diagnostics.ts'

export interface Journal {
  info: (message: string) => void
  warning: (message: string) => void
  error: (message: string) => void
}

const PRIORITIES = { error: 3, warning: 4, info: 6 } as const

export function makeJournal(write: (text: string) => void, withPriorities: boolean): Journal {
  const say = (severity: Severity, message: string): void =>
    write(
      `${withPriorities ? `<${PRIORITIES[severity]}>` : ''}${message.trimEnd().replaceAll('\n', '\n  ')}\n`,
    )
  return {
    info: (text) => say('info', text),
    warning: (text) => say('warning', text),
    error: (text) => say('error', text),
  }
}

/** Says each diagnostic once when it comes and once when it is gone. Returns what stands now, for the next call. */
export function sayDiagnostics(
  journal: Journal,
  before: ReadonlyMap<string, Located>,
  now: readonly Located[],
): Map<string, Located> {
  const after = new Map(now.map((one) => [`${one.file}:${one.line}: ${one.code} ${one.message}`, one]))
  for (const [key, { file, line, severity, code, message, help }] of after) {
    if (before.has(key)) continue
    journal[severity](
      `${file}:${line}: ${severity}[${code}]: ${message}${help === undefined ? '' : ` (${help})`}`,
    )
  }
  for (const [key, { file, line, code, message }] of before) {
    if (!after.has(key)) journal.info(`${file}:${line}: mended[${code}]: ${message}`)
  }
  return after
}
