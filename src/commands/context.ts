/** What a command gets. */
import type { Diagnostic } from '../diagnostic.ts'
import type { Looked, Paths } from '../node/look.ts'
import { coloured, locate, plain, renderDiagnostic, type Located, type Sources } from '../show/diagnostics.ts'

export interface Io {
  stdout: (text: string) => void
  stderr: (text: string) => void
  isTerminal: boolean
}

export interface Context {
  io: Io
  paths: Paths
  /** What follows the command's name, options left out. */
  words: string[]
  /** All options by name; those of other commands are not among them. */
  values: Readonly<Record<string, string | boolean | undefined>>
  json: boolean
  colour: boolean
}

/** The command line makes no sense: exit code 2, one line. */
export class UsageError extends Error {}

/** Every file that a diagnostic of this look can point into. */
export function sourcesOf({ tree, settingsTexts }: Looked): Sources {
  return new Map([...tree.fw, ...settingsTexts])
}

/** Diagnostics for people, on stderr; returns whether one is an error. */
export function showDiagnostics(
  diagnostics: readonly Diagnostic[],
  sources: Sources,
  { io, paths, colour }: Context,
): boolean {
  const located = locate(diagnostics, sources, paths.pveDir)
  const paint = colour ? coloured : plain
  for (const one of located) io.stderr(renderDiagnostic(one, sources, paths.pveDir, paint))
  if (located.length > 0) io.stderr(`${summary(located)}\n`)
  return located.some(({ severity }) => severity === 'error')
}

function summary(located: readonly Located[]): string {
  const count = (severity: string): number => located.filter((one) => one.severity === severity).length
  const parts = (['error', 'warning', 'info'] as const).map(
    (severity) => [count(severity), severity] as const,
  )
  const said = parts
    .filter(([n]) => n > 0)
    .map(([n, severity]) => `${n} ${severity}${n > 1 && severity !== 'info' ? 's' : ''}`)
  return said.join(', ')
}
