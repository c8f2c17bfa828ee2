/** Text in the columns of a terminal, where a character takes none, one or two. */
import stringWidth from 'string-width'

const ELLIPSIS = '…'
const graphemes = new Intl.Segmenter()

/** How many columns a text without control characters takes. */
export function columnsOf(text: string): number {
  return /^[ -~]*$/.test(text) ? text.length : stringWidth(text)
}

/** As `padEnd`, in columns. */
export function pad(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - columnsOf(text)))
}

/** As `padStart`, in columns. */
export function padLeft(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - columnsOf(text))) + text
}

/** The text, or as much of it as fits, with an ellipsis at its end. */
export function cut(text: string, columns: number): string {
  return columnsOf(text) <= columns ? text : head(text, columns - 1) + ELLIPSIS
}

/** As much of a text as fits into its first columns. */
export function head(text: string, columns: number): string {
  // One column takes many characters when they combine, but not without end.
  return take([...graphemes.segment(text.slice(0, MAX_CHARS_A_COLUMN * (columns + 1)))], columns).join('')
}

/** As much of a text as fits into its last columns. */
export function tail(text: string, columns: number): string {
  const last = text.slice(-MAX_CHARS_A_COLUMN * (columns + 1))
  return take([...graphemes.segment(last)].reverse(), columns)
    .reverse()
    .join('')
}

const MAX_CHARS_A_COLUMN = 16

function take(segments: readonly { segment: string }[], columns: number): string[] {
  let left = columns
  const end = segments.findIndex(({ segment }) => (left -= columnsOf(segment)) < 0)
  return segments.slice(0, end < 0 ? undefined : end).map(({ segment }) => segment)
}

/** Breaks a text at its blanks; its lines behind the first are indented. A word that is too long stands alone. */
export function wrap(text: string, columns: number, indent: string): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`
    if (lines.length === 0) lines.push(word)
    else if (columnsOf(longer) <= columns) lines[lines.length - 1] = longer
    else lines.push(indent + word)
  }
  return lines.join('\n')
}

/** Lines that are shown as they are: those of files with a caret below, and those to copy, which stand deeper behind a colon. */
const QUOTED = /^ *\d* \| /

/**
 * Breaks the lines of a text that are wider than `columns` at their blanks; they go on below their text, or two columns further in. A line
 * that is written over itself (a countdown) stays one line.
 */
export function wrapProse(text: string, columns: number): string {
  let verbatim = Infinity
  return text
    .split('\n')
    .map((line) => {
      const indent = line.search(/\S|$/)
      if (indent <= verbatim) verbatim = line.endsWith(':') ? indent : Infinity
      const isCopied = indent > verbatim || QUOTED.test(line) || line.startsWith('\r')
      return isCopied || columnsOf(line) <= columns
        ? line
        : wrap(line, columns, hanging(line, indent, columns))
    })
    .join('\n')
}

/** As far in as the second of two columns, where a line has two. */
function hanging(line: string, indent: number, columns: number): string {
  const second = /^ *\S+(?: \S+)*? {2,}(?=\S)/.exec(line)?.[0].length ?? columns
  return ' '.repeat(second <= columns / 2 ? second : indent + 2)
}
