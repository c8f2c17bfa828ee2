/** The list as a table for people. */
import { fileName, placeName, type Diagnostic, type Severity } from '../diagnostic.ts'
import { sum } from '../lists.ts'
import { amount, externalCell, guestCell, innerCell } from './cells.ts'
import { columnsOf, cut, pad, padLeft, wrap } from './columns.ts'
import { coloured, printable } from './diagnostics.ts'
import type { Row, RowState } from './list.ts'

interface Column {
  title: string
  cell: (row: Row) => string
  /** What is left of it when there is little room; undefined when it is never cut. */
  leastColumns?: number
  isNumber?: true
  /** What it may be cut to before another column is left out for it; as `leastColumns` when undefined. */
  enoughColumns?: number
  /** Where there is too little room the column with the least number is left out first. */
  goes?: number
  /** Left out where no row has anything in it. */
  isRare?: true
}

/** Room for an IPv4 address with a range of ports and the protocol, or with a port: ports are cut last. */
const [EXTERNAL_COLUMNS, INNER_COLUMNS] = [31, 21]

const COLUMNS: readonly Column[] = [
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'EXTERNAL', cell: externalCell, leastColumns: EXTERNAL_COLUMNS },
  { title: 'INNER', cell: innerCell, leastColumns: INNER_COLUMNS },
  { title: 'GUEST', cell: guestCell, leastColumns: 6, enoughColumns: 8 },
  { title: 'SOURCE', cell: ({ source }) => source || 'any', leastColumns: 6, enoughColumns: 15, goes: 2 },
  {
    title: 'UPLINK',
    cell: ({ uplinks = [] }) => uplinks.join(','),
    leastColumns: 8,
    enoughColumns: 8,
    isRare: true,
  },
  { title: 'WHERE', cell: whereCell, leastColumns: 8 },
  { title: 'CONNS', cell: ({ packets }) => amount(packets, 1000), isNumber: true, goes: 3 },
  { title: 'BYTES', cell: ({ bytes }) => amount(bytes, 1024), isNumber: true, goes: 1 },
  { title: 'COMMENT', cell: ({ comment }) => comment, leastColumns: 8, enoughColumns: 16 },
]

/**
 * As wide as `columns`, or wider where there is no other way: columns are left out, then cut. Below it stands why rules are not in
 * force. With `maxRows` the table ends there and says how many rows it leaves out; `isColoured` paints the states.
 */
export function renderTable(
  rows: readonly Row[],
  columns: number,
  { maxRows = Infinity, isColoured = false } = {},
): string {
  const shown = rows.slice(0, maxRows)
  const all = COLUMNS.filter(({ isRare, cell }) => !isRare || shown.some((row) => cell(row) !== ''))
  const [header = '', ...lines] = layOut(withRoom(all, shown, columns), shown, columns)
  const painted = lines.map((line, i) => (isColoured ? paintState(line, shown[i]?.state ?? 'active') : line))
  const reasons = shown
    .filter(({ reason }) => reason !== '')
    .map((row) => wrap(`  ${whereCell(row)}: ${typed(row)}${row.reason}`, columns, '      '))
  const more = rows.length - shown.length
  return [
    header,
    ...painted,
    ...(more > 0 ? [`and ${more} more`] : []),
    ...(reasons.length > 0 ? ['', ...reasons] : []),
    '',
  ].join('\n')
}

const SEVERITY_OF: Partial<Record<RowState, Severity>> = {
  partial: 'warning',
  pending: 'warning',
  error: 'error',
  conflict: 'error',
  quarantined: 'error',
}

/** The state is the first word of a line. */
function paintState(line: string, state: RowState): string {
  const severity = SEVERITY_OF[state]
  if (severity) return coloured(severity, state) + line.slice(state.length)
  return state === 'active' ? `\u001b[32m${state}\u001b[0m${line.slice(state.length)}` : line
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

/** The columns without those that have to go. */
function withRoom(all: readonly Column[], rows: readonly Row[], columns: number): readonly Column[] {
  const [first] = all.filter(({ goes }) => goes !== undefined).sort((a, b) => (a.goes ?? 0) - (b.goes ?? 0))
  const enough = widthsOf(all, cellsOf(all, rows)).map((width, i) =>
    Math.min(width, all[i]?.enoughColumns ?? all[i]?.leastColumns ?? Infinity),
  )
  const isEnough = sum(enough) + enough.length - 1 <= columns
  return isEnough || !first
    ? all
    : withRoom(
        all.filter((one) => one !== first),
        rows,
        columns,
      )
}

/** Titles, then a line for each row. */
function cellsOf(list: readonly Column[], rows: readonly Row[]): string[][] {
  return [list.map(({ title }) => title), ...rows.map((row) => list.map(({ cell }) => printable(cell(row))))]
}

function widthsOf(list: readonly Column[], cells: readonly string[][]): number[] {
  return list.map((_, i) => cells.reduce((most, row) => Math.max(most, columnsOf(row[i] ?? '')), 0))
}

/** The lines of the table, its header first. */
function layOut(list: readonly Column[], rows: readonly Row[], columns: number): string[] {
  const cells = cellsOf(list, rows)
  const wanted = widthsOf(list, cells)
  const gap = sum(wanted) + 2 * (wanted.length - 1) <= columns ? '  ' : ' '
  const widths = fit(list, wanted, columns - gap.length * (wanted.length - 1))
  return cells.map((row) =>
    list
      .map(({ isNumber }, i) => {
        const text = cut(row[i] ?? '', widths[i] ?? 0)
        return isNumber ? padLeft(text, widths[i] ?? 0) : pad(text, widths[i] ?? 0)
      })
      .join(gap)
      .trimEnd(),
  )
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

export function whereCell({ file, line }: Row): string {
  return `${fileName(file)}:${line}`
}
