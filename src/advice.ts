/** What a diagnostic proposes: a help line, and apart from it the comments, commands and settings that can be typed as they are. */

/** What was perhaps meant, and how to say that it is text. Both are whole comments. */
export interface Advice {
  meant?: string | undefined
  asText?: string | undefined
}

/** What is free instead; filled in when all claims are known (nat/free.ts). `wish` is the id of the rule. */
export interface Wish {
  wish?: string
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
