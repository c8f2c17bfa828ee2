/** `npm run bench`: measures section after section, shows tables, and holds them against the targets. */
import { parseArgs } from 'node:util'
import { changing } from './change.ts'
import { editing } from './edits.ts'
import { flows } from './flows.ts'
import { idling } from './idle.ts'
import { loading } from './load.ts'
import { translating } from './translate.ts'
import { FULL, QUICK, type Section } from './section.ts'
import { showTargets, verdict, type Target } from './targets.ts'

const SECTIONS: readonly Section[] = [translating, loading, changing, editing, idling, flows]

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    write: { type: 'string' },
  },
})

async function main(): Promise<void> {
  const { quick, only } = values
  const wrong = only.find((name) => !SECTIONS.some((section) => section.name === name))
  if (wrong !== undefined)
    throw new Error(`no section ${wrong}, only ${SECTIONS.map(({ name }) => name).join(', ')}`)
  const size = quick ? QUICK : FULL
  const targets: Target[] = []
  for (const section of SECTIONS.filter(({ name }) => only.length === 0 || only.includes(name))) {
    const start = performance.now()
    const measured = await section.run(size)
    for (const table of measured.tables) console.log(table.markdown())
    targets.push(...measured.targets)
    console.error(`${section.name}: ${((performance.now() - start) / 1000).toFixed(0)} s`)
  }
  console.log(showTargets(targets))
  process.exitCode = targets.some((target) => verdict(target) === 'not met') ? 1 : 0
}

main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
})
