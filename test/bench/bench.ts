/** `npm run bench`: measures section after section, shows tables, and holds them against the targets. */
import { parseArgs } from 'node:util'
import { answering } from './answers.ts'
import { changing } from './change.ts'
import { editing } from './edits.ts'
import { elsewhere } from './elsewhere.ts'
import { flows } from './flows.ts'
import { growing } from './growth.ts'
import { idling } from './idle.ts'
import { MAX_FORWARDS } from './generate.ts'
import { loading } from './load.ts'
import { renderReport, writeInto } from './report.ts'
import { FULL, QUICK, type Section, type Size } from './section.ts'
import type { Table } from './table.ts'
import { verdict, type Target } from './targets.ts'
import { translating } from './translate.ts'
import { uplinks } from './uplinks.ts'

const SECTIONS: readonly Section[] = [
  translating,
  loading,
  changing,
  flows,
  uplinks,
  idling,
  editing,
  elsewhere,
  answering,
  growing,
]

const secondsSince = (startMs: number): number => (performance.now() - startMs) / 1000

async function main(args: string[]): Promise<void> {
  const { size, only, write } = parse(args)
  const startedAt = new Date()
  const startMs = performance.now()
  const tables: Table[] = []
  const targets: Target[] = []
  let failed = false
  for (const section of SECTIONS.filter(({ name }) => only.length === 0 || only.includes(name))) {
    const sectionMs = performance.now()
    try {
      const measured = await section.run(size)
      tables.push(...measured.tables)
      targets.push(...measured.targets)
    } catch (error) {
      console.error(`bench: ${section.name}: ${error instanceof Error ? error.message : String(error)}`)
      failed = true
    }
    console.error(`${section.name}: ${secondsSince(sectionMs).toFixed(0)} s`)
  }
  const command = ['npm run bench', ...(args.length > 0 ? ['--', ...args] : [])].join(' ')
  const report = await renderReport({ command, startedAt, seconds: secondsSince(startMs), tables, targets })
  console.log(report)
  if (write !== undefined && !failed) await writeInto(write, report)
  process.exitCode = failed || targets.some((target) => verdict(target) === 'not met') ? 1 : 0
}

function parse(args: string[]): { size: Size; only: string[]; write: string | undefined } {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      forwards: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      write: { type: 'string' },
    },
  })
  const wrong = values.only.find((name) => !SECTIONS.some((section) => section.name === name))
  if (wrong !== undefined)
    throw new Error(`no section ${wrong}; there are ${SECTIONS.map(({ name }) => name).join(', ')}`)
  const size = values.quick ? QUICK : FULL
  const forwards = values.forwards?.split(',').map(Number) ?? size.forwards
  if (!forwards.every((count) => count >= 1 && count <= MAX_FORWARDS))
    throw new Error(`--forwards takes numbers from 1 to ${MAX_FORWARDS}, got ${values.forwards}`)
  return { size: { ...size, forwards }, only: values.only, write: values.write }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
})
