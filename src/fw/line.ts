/** One line of a file and the comment on it. */
import { decodeUtf8, skipBlanks, trimEnd } from './bytes.ts'
import type { Span } from './fw-file.ts'

/** A line as it stands in the file, and the part of it [from, to) that is left after trimming. */
export interface Line {
  text: string
  number: number
  from: number
  to: number
}

/** What Perl's `\h` matches in a byte string. The byte A0 also ends letters such as `à`, which upstream thus breaks. */
function isHorizontal(code: number): boolean {
  return code === 32 || code === 9 || code === 0xa0
}

/** Splits at line feeds; carriage returns stay. */
export function* lines(bytes: string): Generator<Line> {
  for (let start = 0, number = 1; start < bytes.length; number++) {
    const feed = bytes.indexOf('\n', start)
    const end = feed < 0 ? bytes.length : feed
    const text = bytes.slice(start, end)
    let from = 0
    let to = text.length
    while (from < to && isHorizontal(text.charCodeAt(from))) from++
    while (to > from && isHorizontal(text.charCodeAt(to - 1))) to--
    yield { text, number, from, to }
    start = end + 1
  }
}

/** The span of [from, to) of a line; of its trimmed whole without them. */
export function spanOf(line: Line, from = line.from, to = line.to): Span {
  return { line: line.number, from, to }
}

/** Where the content of a line ends, and the comment behind it: the first `#` begins one, wherever it stands. */
interface Content {
  end: number
  comment?: string
  commentSpan?: Span
}

/** Separates content from comment. The comment is trimmed and decoded; the content keeps the blanks at its end. */
export function splitComment(line: Line): Content {
  const hash = line.text.indexOf('#', line.from)
  if (hash < 0) return { end: line.to }
  const from = skipBlanks(line.text, hash + 1, line.to)
  const to = trimEnd(line.text, from, line.to)
  return { end: hash, comment: decodeUtf8(line.text.slice(from, to)), commentSpan: spanOf(line, from, to) }
}
