/** What was measured, and how it is shown: tables in Markdown, which are readable as they are. */
import { ratios, summarise } from './statistics.ts'

/** So begins the name of a column that is a part of the base, and not another way of doing it. */
export const PART = 'of it'

export interface Cell {
  values: number[]
  /** Said behind the figure, e.g. that it was not measured in full. */
  note: string
}

/** One line for each thing that was measured, one column for each way of doing it. */
export class Table {
  private readonly lines = new Map<string, Map<string, Cell>>()

  constructor(
    readonly title: string,
    /** What stands above the names of the lines. */
    private readonly head: string,
    readonly columns: readonly string[],
    /** The column that the others are compared with: behind their figures stands how many times it they are. */
    private readonly base?: string,
    /** What a reader must know of how it was measured. */
    readonly remark = '',
  ) {}

  add(line: string, column: string, values: readonly number[], note = ''): void {
    if (!this.columns.includes(column)) throw new Error(`${this.title} has no column ${column}`)
    const cells = this.lines.get(line) ?? new Map<string, Cell>()
    this.lines.set(line, cells)
    const cell = cells.get(column) ?? { values: [], note }
    cells.set(column, cell)
    cell.values.push(...values)
  }

  /** The values of a cell; undefined when it was not measured. */
  values(line: string, column: string): readonly number[] | undefined {
    return this.lines.get(line)?.get(column)?.values
  }

  markdown(): string {
    const rows = [...this.lines].map(([line, cells]) => [
      line,
      ...this.columns.map((column) => this.show(cells, column)),
    ])
    const remark = this.remark === '' ? [] : [this.remark, '']
    return [`### ${this.title}`, '', ...remark, ...grid([[this.head, ...this.columns], ...rows]), ''].join(
      '\n',
    )
  }

  private show(cells: ReadonlyMap<string, Cell>, column: string): string {
    const cell = cells.get(column)
    if (!cell) return ''
    const isCompared = this.base !== undefined && column !== this.base && !column.startsWith(PART)
    const base = isCompared ? cells.get(this.base) : undefined
    const note = cell.note === '' ? '' : ` ${cell.note}`
    return showValues(cell.values) + (base ? `, ${times(cell.values, base.values)}` : '') + note
  }
}

/** `4.2 (4.1–4.4)`: the median and the middle half; of one value, the value. */
export function showValues(values: readonly number[]): string {
  const { median, low, high } = summarise(values)
  return values.length === 1 ? round(median) : `${round(median)} (${round(low)}–${round(high)})`
}

/** `3.1x`: how many times the base. */
function times(values: readonly number[], base: readonly number[]): string {
  return `${round(summarise(ratios(values, base)).median)}x`
}

/** Three digits, for no measurement is better than that; whole numbers as they are. */
export function round(value: number): string {
  if (Number.isInteger(value) || !Number.isFinite(value)) return value.toLocaleString('en')
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value.toFixed(Math.min(digits, 3)).replace(/\B(?=(\d{3})+$)/g, digits === 0 ? ',' : '')
}

/** Rows as a Markdown table with straight columns; the first row is the head. */
export function grid(rows: readonly (readonly string[])[]): string[] {
  const [head = []] = rows
  const widths = head.map((_, i) => Math.max(3, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    `| ${widths.map((width, i) => (row[i] ?? '').padEnd(width)).join(' | ')} |`
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [line(head), rule, ...rows.slice(1).map(line)]
}
