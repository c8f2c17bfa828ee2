/** A diagnostic is data: a code, a place and facts. `word` turns it into text at the very end (wordings.ts). */
import type { Span } from './fw/fw-file.ts'
import { clip, MAX_SAID_CHARS, SEVERITIES, type Severity, type Wording } from './advice.ts'
import { WORDINGS } from './wordings.ts'

export { clip, SEVERITIES, type Severity } from './advice.ts'

/** For sorting. */
export function worstFirst(a: { severity: Severity }, b: { severity: Severity }): number {
  return SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity)
}

/** Where a diagnostic points: a file (relative to the pve directory, or absolute outside it) and a part of one line. */
export interface Place {
  file: string
  span: Span
}

/** `107.fw:9`: where a rule stands, in a few words. */
export function placeName({ file, span }: Place): string {
  return `${fileName(file)}:${span.line}`
}

export function fileName(path: string): string {
  return path.replace(/^.*\//, '')
}

export type Code = keyof typeof WORDINGS
export const CODES = Object.keys(WORDINGS) as readonly Code[]
type Facts<C extends Code> = Parameters<(typeof WORDINGS)[C]['say']>[0]

export interface Diagnostic {
  code: Code
  place: Place
  facts: unknown
}

/** The one way to make a diagnostic: the facts that a code needs are checked by its wording. */
export function diagnose<C extends Code>(code: C, place: Place, facts: Facts<C>): Diagnostic {
  return { code, place, facts }
}

/** A diagnostic as words. */
interface Worded {
  severity: Severity
  message: string
  help: string | undefined
  /** What of the help can be typed as it is, the likeliest first. */
  proposals: string[]
}

/** Severity, sentence and help of a diagnostic; for the owner of the guest alone without a word of other guests. */
export function word(diagnostic: Diagnostic, isTenant = false): Worded {
  const wording = WORDINGS[diagnostic.code] as Wording<unknown>
  const [message, help, proposals = []] = wording.say(diagnostic.facts, { isTenant })
  return {
    severity: wording.severity,
    message: clip(message),
    help: help === undefined ? help : clip(help),
    // A part of a proposal is none.
    proposals: proposals.filter((one) => one !== undefined && one.length <= MAX_SAID_CHARS) as string[],
  }
}

export function isError(diagnostic: Diagnostic): boolean {
  return WORDINGS[diagnostic.code].severity === 'error'
}
