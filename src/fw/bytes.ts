/**
 * Text of bytes, one character per byte, and the little of it that Perl does differently from JavaScript: there, white
 * space and case are ASCII alone (`\s`, `lc`), but `\h` takes in the byte A0.
 */

/** True of what Perl's `\s` matches in a byte string: tab, line feed, vertical tab, form feed, carriage return, space. */
export function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13)
}

/** The first index in [from, to) that is not white space, or `to`. */
export function skipBlanks(text: string, from: number, to: number): number {
  let i = from
  while (i < to && isBlank(text.charCodeAt(i))) i++
  return i
}

/** The first index in [from, to) that is white space, or `to`. */
export function skipWord(text: string, from: number, to: number): number {
  let i = from
  while (i < to && !isBlank(text.charCodeAt(i))) i++
  return i
}

/** The end of [from, to) without the white space at its end. */
export function trimEnd(text: string, from: number, to: number): number {
  let i = to
  while (i > from && isBlank(text.charCodeAt(i - 1))) i--
  return i
}

/** Lower case of A to Z only. */
export function asciiLower(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** Perl's truth: `0` is false like the empty string, so upstream never looks at a field that says `0`. */
export function isTrue(value: string | undefined): value is string {
  return value !== undefined && value !== '' && value !== '0'
}

/**
 * Splits at commas as Perl's `split` does, which drops empty items at the end; undefined when it dropped any
 * (upstream: "extraneous commas in list").
 */
export function splitList(text: string): string[] | undefined {
  return text.endsWith(',') ? undefined : text.split(',')
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** Decodes bytes as UTF-8; bad bytes become U+FFFD. Every byte counts, a byte order mark, too. */
export function decodeUtf8(bytes: string): string {
  const raw = new Uint8Array(bytes.length)
  for (let i = 0; i < bytes.length; i++) raw[i] = bytes.charCodeAt(i)
  return UTF8.decode(raw)
}
