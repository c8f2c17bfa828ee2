/** The words of a comment, where they stand, and what marks it as NAT. */
import type { Place } from '../diagnostic.ts'

export interface Word {
  text: string
  /** Offset in the comment, in characters. */
  at: number
}

/** What separates words: every Unicode blank, also those without width. The C2 of a no-break space that ends a line comes as U+FFFD (fw/line.ts). */
const BLANK = '[\\s\\u0085\\u180e\\u200b-\\u200d\\u2060]'
/** A full-width colon is told with the word that it begins. */
const TRIGGER = new RegExp(`^${BLANK}*NAT(?=${BLANK}|[:\\uff1a]|\\ufffd?$)`, 'u')
const WORD = new RegExp(`(?:(?!${BLANK})[^])+`, 'gu')

/** Nobody needs more; a comment of a megabyte shall cost no more than its line. Text behind it is free text. */
const MAX_COMMENT_CHARS = 2048

/** Whether a rule's comment (as pve-firewall decodes and trims it) makes it a NAT rule. */
export function isMarked(comment: string | undefined): comment is string {
  return comment !== undefined && TRIGGER.test(comment)
}

/** Where the word NAT of a marked comment begins, and the words behind it. */
export function readWords(comment: string): { at: number; words: Word[] } {
  const end = TRIGGER.exec(comment)?.[0].length ?? 0
  return { at: end - 3, words: splitWords(comment, comment[end] === ':' ? end + 1 : end) }
}

/** The words of a comment from a place on. */
export function splitWords(comment: string, from = 0): Word[] {
  const text = comment.slice(from, MAX_COMMENT_CHARS).replace(/\ufffd$/, '')
  return [...text.matchAll(WORD)].map((match) => ({ text: match[0], at: from + match.index }))
}

/** Characters [from, to) of a decoded comment as a place in its line, which is counted in bytes. */
export function placeOf(place: Place, comment: string, from: number, to: number): Place {
  const bytes = (end: number): number => new TextEncoder().encode(comment.slice(0, end)).length
  const { line, from: start, to: end } = place.span
  // A byte that is no UTF-8 counts as the three of U+FFFD.
  const at = (chars: number): number => Math.min(start + bytes(chars), end)
  return { file: place.file, span: { line, from: at(from), to: at(to) } }
}
