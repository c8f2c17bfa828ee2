/** The words of a command that cannot go on. */
import { CommandFailed } from './exec.ts'
import { systemReason } from './system-error.ts'
import { Unreadable } from './tree.ts'

const MAX_SHOWN_LINES = 40

/** One paragraph for stderr or the journal; with the input of a program that refused it, its lines numbered. */
export function explainFailure(error: unknown): string {
  return `pvenat: ${wordsOf(error)}\n`
}

/** The same as a clause for a longer message. */
export function failureReason(error: unknown): string {
  return wordsOf(error).trimEnd()
}

function wordsOf(error: unknown): string {
  if (error instanceof Unreadable) return `${error.message}; the installed rules stay`
  if (error instanceof CommandFailed) return [error.message, ...numbered(error)].join('\n')
  const reason = systemReason(error)
  if (reason !== undefined) return [...objectOf(error), reason].join(': ')
  return error instanceof Error ? error.message : String(error)
}

/** The file or address that a system error is about. */
function objectOf(error: unknown): string[] {
  const { path, address, port } = error as { path?: string; address?: string; port?: number }
  return [path ?? address, path === undefined ? port : undefined].flatMap((part) =>
    part === undefined ? [] : [String(part)],
  )
}

function numbered({ input, finished }: CommandFailed): string[] {
  if (input === '') return []
  const lines = input.split('\n').map((line, i) => `${String(i + 1).padStart(6)}  ${line}`)
  if (lines.length <= MAX_SHOWN_LINES) return lines
  const at = Number(/line:? (\d+)/i.exec(finished.stderr)?.[1] ?? 1)
  return lines.slice(Math.max(0, at - 4), at + 3)
}
