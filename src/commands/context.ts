/** What a command gets. */
import type { Diagnostic } from '../diagnostic.ts'
import type { Io } from '../io.ts'
import type { Paths } from '../node/look.ts'
import { coloured, locate, plain, renderDiagnostics, type Sources } from '../show/diagnostics.ts'

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

/** Diagnostics for people, on stderr; returns whether one is an error. `all` is the command that tells more than the first ones. */
export function showDiagnostics(
  diagnostics: readonly Diagnostic[],
  sources: Sources,
  { io, paths, colour }: Context,
  all = 'pvenat check --json',
): boolean {
  const located = locate(diagnostics, sources, paths.pveDir)
  const paint = colour ? coloured : plain
  io.stderr(renderDiagnostics(located, sources, paths.pveDir, paint, all))
  return located.some(({ severity }) => severity === 'error')
}
