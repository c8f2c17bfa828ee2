/** The list as a table for people. */
import { fileName, placeName, type Diagnostic } from '../diagnostic.ts'
import { externalCell, guestCell, innerCell } from './cells.ts'
import { columnsOf, cut, pad, padLeft, wrap } from './columns.ts'
import { printable } from './diagnostics.ts'
import type { Row } from './list.ts'

interface Column {
  title: string
  cell: (row: Row) => string
  /** What is left of it when there is little room; undefined when it is never cut. */
  leastColumns?: number
  isNumber?: true
  /** Left out where there is too little room for it. */
  isOptional?: true
  /** Left out where no row has anything in it. */
  isRare?: true
}

/** Room for any IPv4 address with a port: where a forward leads to is cut last. */
const ENDPOINT_COLUMNS = 21

const COLUMNS: readonly Column[] = [
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'EXTERNAL', cell: externalCell, leastColumns: 12 },
  { title: 'INNER', cell: innerCell, leastColumns: ENDPOINT_COLUMNS },
  { title: 'GUEST', cell: guestCell, leastColumns: 6 },
  { title: 'SOURCE', cell: ({ source }) => source || 'any', leastColumns: 6 },
  { title: 'UPLINK', cell: ({ uplinks = [] }) => uplinks.join(','), leastColumns: 8, isRare: true },
  { title: 'WHERE', cell: whereCell, leastColumns: 8 },
  { title: 'CONNS', cell: ({ packets }) => amount(packets, 1000), isNumber: true },
  { title: 'BYTES', cell: ({ bytes }) => amount(bytes, 1024), isNumber: true },
  { title: 'COMMENT', cell: ({ comment }) => comment, leastColumns: 8, isOptional: true },
]

/**
 * As wide as `columns`, or wider where there is no other way. Below it stands why rules are not in force. With
 * `maxRows` the table ends there and says how many rows it leaves out.
 */
export function renderTable(rows: readonly Row[], columns: number, maxRows = Infinity): string {
  const shown = rows.slice(0, maxRows)
  const all = COLUMNS.filter(({ isRare, cell }) => !isRare || shown.some((row) => cell(row) !== ''))
  const wide = layOut(all, shown, columns)
  const narrow = all.filter(({ isOptional }) => !isOptional)
  const { lines } = wide.columns <= columns ? wide : layOut(narrow, shown, columns)
  const reasons = shown
    .filter(({ reason }) => reason !== '')
    .map((row) => wrap(`  ${whereCell(row)}: ${typed(row)}${row.reason}`, columns, '      '))
  const more = rows.length - shown.length
  return [
    ...lines,
    ...(more > 0 ? [`and ${more} more`] : []),
    ...(reasons.length > 0 ? ['', ...reasons] : []),
    '',
  ].join('\n')
}

/** More places would hide that there is a command for them. */
const MAX_MISSES = 3

/** One line for the rules whose comments nearly begin with NAT: the table cannot hold them. */
export function renderMisses(diagnostics: readonly Diagnostic[], columns: number): string {
  const places = diagnostics.filter(({ code }) => code === 'near-miss').map(({ place }) => placeName(place))
  if (places.length === 0) return ''
  const more = places.length - MAX_MISSES
  const shown = places.slice(0, MAX_MISSES).join(', ') + (more > 0 ? ` and ${more} more` : '')
  return `${cut(`nearly NAT, see pvenat check: ${shown}`, columns)}\n`
}

/** The lines of the table, its header first, and how wide it is. */
function layOut(
  list: readonly Column[],
  rows: readonly Row[],
  columns: number,
): { lines: string[]; columns: number } {
  const cells = [
    list.map(({ title }) => title),
    ...rows.map((row) => list.map(({ cell }) => printable(cell(row)))),
  ]
  const wanted = list.map((_, i) => cells.reduce((most, row) => Math.max(most, columnsOf(row[i] ?? '')), 0))
  const gap = sum(wanted) + 2 * (wanted.length - 1) <= columns ? '  ' : ' '
  const gaps = gap.length * (wanted.length - 1)
  const widths = fit(list, wanted, columns - gaps)
  const lines = cells.map((row) =>
    list
      .map(({ isNumber }, i) => {
        const text = cut(row[i] ?? '', widths[i] ?? 0)
        return isNumber ? padLeft(text, widths[i] ?? 0) : pad(text, widths[i] ?? 0)
      })
      .join(gap)
      .trimEnd(),
  )
  return { lines, columns: sum(widths) + gaps }
}

/** Takes from the widest column that may be cut until all fit. */
function fit(list: readonly Column[], widths: readonly number[], columns: number): number[] {
  const fitted = [...widths]
  let excess = sum(fitted) - columns
  for (; excess > 0; excess--) {
    const spare = fitted.map((width, i) => (width > (list[i]?.leastColumns ?? Infinity) ? width : 0))
    const widest = spare.indexOf(Math.max(...spare))
    if (spare[widest] === 0) break
    fitted[widest] = (fitted[widest] ?? 0) - 1
  }
  return fitted
}

/** The comment of a rule that is wrong: the reason is about it. */
function typed({ state, comment }: Row): string {
  return state === 'error' ? `${printable(comment)}: ` : ''
}

function sum(widths: readonly number[]): number {
  return widths.reduce((total, width) => total + width, 0)
}

export function whereCell({ file, line }: Row): string {
  return `${fileName(file)}:${line}`
}

/** Three digits or so: `999`, `1.2k`, `34M`. */
function amount(count: number, step: number): string {
  let rest = count
  const unit = ['', 'k', 'M', 'G', 'T'].find((_, i, units) => {
    if (rest < step || i === units.length - 1) return true
    rest /= step
    return false
  })
  return unit === '' ? String(count) : `${rest < 10 ? rest.toFixed(1) : Math.floor(rest)}${unit}`
}
