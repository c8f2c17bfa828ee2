/** What the words of diagnostics are made of: severities, and help with, apart from it, what can be typed as it is. */

/** The worst first. */
export const SEVERITIES = ['error', 'warning', 'info'] as const
export type Severity = (typeof SEVERITIES)[number]

/** Message, a help line where there is one, and apart from it what can be typed as it is: comments, commands, settings. */
export type Words = [message: string, help?: string | undefined, proposals?: readonly (string | undefined)[]]

/** Who reads it: the owner of one guest must not learn of others. */
export interface Reader {
  isTenant: boolean
}

export interface Wording<F> {
  severity: Severity
  say: (facts: F, reader: Reader) => Words
}

const wording =
  (severity: Severity) =>
  <F>(say: (facts: F, reader: Reader) => Words): Wording<F> => ({ severity, say })

export const [error, warning, info] = [wording('error'), wording('warning'), wording('info')]

/** What was perhaps meant, and how to say that it is text. Both are whole comments. */
export interface Advice {
  meant?: string | undefined
  asText?: string | undefined
}

/** What is free instead; filled in when all claims are known (nat/free-ports.ts). `wish` is the id of the rule. */
export interface Wish {
  wish?: string
  /** How many ports, where that is another number than the rule has. */
  count?: number
  free?: string | undefined
  proposal?: string | undefined
}

/** Help line and proposals of an advice. */
export function advise({
  meant,
  asText,
}: Advice): [help: string | undefined, proposals: (string | undefined)[]] {
  const text = asText === undefined ? undefined : `${meant === undefined ? 'if' : 'If'} it is text: ${asText}`
  const help = [meant === undefined ? undefined : `did you mean ${meant}?`, text]
  return [help.filter((part) => part !== undefined).join(' ') || undefined, [meant, asText]]
}

/** `a free port: NAT 8008`. */
export function propose(
  label: string,
  proposal: string | undefined,
  otherwise?: string,
): [help: string | undefined, proposals: string[]] {
  return proposal === undefined ? [otherwise, []] : [`${label}: ${proposal}`, [proposal]]
}

/** A word may be as long as its file. */
export const MAX_SAID_CHARS = 500

/** The beginning of a text that may be as long as its file. */
export function clip(text: string, chars = MAX_SAID_CHARS): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 3)}...`
}
