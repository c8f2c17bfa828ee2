/** What a run is told with: on what machine, the tables, the targets. */
import { execa } from 'execa'
import { readFile, writeFile } from 'node:fs/promises'
import { cpus, release } from 'node:os'
import type { Table } from './table.ts'
import { showTargets, type Target } from './targets.ts'

const BEGIN = '<!-- begin of what the bench writes -->'
const END = '<!-- end of what the bench writes -->'

export interface Report {
  /** The command line that made it. */
  command: string
  startedAt: Date
  seconds: number
  tables: readonly Table[]
  targets: readonly Target[]
}

export async function renderReport({
  command,
  startedAt,
  seconds,
  tables,
  targets,
}: Report): Promise<string> {
  const { stdout } = await execa('iptables-legacy', ['--version'], { reject: false })
  const [cpu] = cpus()
  const machine = [`Linux ${release()}`, `Node.js ${process.versions.node}`, stdout.split(' (')[0]]
  return [
    `\`${command}\`, ${startedAt.toISOString().slice(0, 10)}, in ${Math.round(seconds / 60)} minutes, on ${cpus().length} cores (${cpu?.model.trim()}), ${machine.join(', ')}.`,
    'Each figure is a median, behind it in brackets the middle half of the rounds. All ways of a line take turns in the same rounds; `x` is how many times the first column a figure is.',
    '',
    showTargets(targets),
    ...tables.map((table) => table.markdown()),
  ].join('\n')
}

/** Replaces the part of a document that is the bench's. */
export async function writeInto(file: string, report: string): Promise<void> {
  await writeFile(file, withReport(await readFile(file, 'utf8'), report))
}

/** Throws when the document has no such part. */
export function withReport(text: string, report: string): string {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`expected ${BEGIN} and ${END}, got neither or one`)
  return `${text.slice(0, begin + BEGIN.length)}\n\n${report.trimEnd()}\n\n${text.slice(end)}`
}
