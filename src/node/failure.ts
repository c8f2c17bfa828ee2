/** The words of a command that cannot go on. */
import { CommandFailed } from './exec.ts'
import { systemReason } from './system-error.ts'
import { Unreadable } from './tree.ts'

const MAX_SHOWN_LINES = 40

/** One paragraph for stderr or the journal; with the input of a program that refused it, its lines numbered. */
export function explainFailure(error: unknown): string {
  if (error instanceof Unreadable) return `pvenat: ${error.message}; the installed rules stay\n`
  if (error instanceof CommandFailed) return `pvenat: ${error.message}\n${numbered(error)}`
  const reason = systemReason(error)
  if (reason !== undefined) return `pvenat: ${[...objectOf(error), reason].join(': ')}\n`
  return `pvenat: ${error instanceof Error ? error.message : String(error)}\n`
}

/** The file or address that a system error is about. */
function objectOf(error: unknown): string[] {
  const { path, address, port } = error as { path?: string; address?: string; port?: number }
  return [path ?? address, path === undefined ? port : undefined].flatMap((part) =>
    part === undefined ? [] : [String(part)],
  )
}

function numbered({ input, finished }: CommandFailed): string {
  const lines = input.split('\n').map((line, i) => `${String(i + 1).padStart(6)}  ${line}`)
  if (input === '') return ''
  if (lines.length <= MAX_SHOWN_LINES) return `${lines.join('\n')}\n`
  const at = Number(/line:? (\d+)/i.exec(finished.stderr)?.[1] ?? 1)
  return `${lines.slice(Math.max(0, at - 4), at + 3).join('\n')}\n`
}
