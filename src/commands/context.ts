/** The input of a command. */
import { hostname } from 'node:os'
import { isError, type Diagnostic } from '../diagnostic.ts'
import type { Io } from '../io.ts'
import { chooseBackend } from '../node/backend.ts'
import { realKernel, type WatchedKernel } from '../node/kernel.ts'
import { sourcesOf, type Looked, type Paths } from '../node/look.ts'
import type { Outcome } from '../pipeline.ts'
import { coloured, locate, plain, renderDiagnostics, type Sources } from '../show/diagnostics.ts'

/** `status` and `list` do not wait longer for /etc/pve, since the run folder holds their answer, too. */
export const SOON_MS = 300

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

/** What this node is called in the cluster, unless told otherwise. */
export function shortName(): string {
  return hostname().split('.')[0] ?? ''
}

/** The kernel by way of the backend that the settings or the node's alternatives choose. */
export async function kernelOf({ settings }: Looked, { io }: Context): Promise<WatchedKernel> {
  const backend = await chooseBackend(settings)
  return realKernel(backend, (message) => io.stderr(`pvenat: ${message}\n`))
}

/** Diagnostics, and every file that they can point into. */
export interface Told {
  diagnostics: readonly Diagnostic[]
  sources: Sources
}

/** The diagnostics of a look and of its outcome. */
export function toldOf(looked: Looked, { translation }: Pick<Outcome, 'translation'>): Told {
  return {
    diagnostics: [...looked.settingsDiagnostics, ...translation.diagnostics],
    sources: sourcesOf(looked),
  }
}

/** Diagnostics for people, on stderr; returns whether one is an error. `all` is the command that tells more than the first ones. */
export function showDiagnostics(
  { diagnostics, sources }: Told,
  { io, paths, colour }: Context,
  all = 'pvenat check --json',
): boolean {
  const located = locate(diagnostics, sources, paths.pveDir)
  const paint = colour ? coloured : plain
  io.stderr(renderDiagnostics(located, sources, paths.pveDir, paint, all))
  return diagnostics.some(isError)
}
