/** Everything from nothing: `pvenat apply` as a whole command, and the same forwards put into the kernel in other ways. */
import { backends, type Backend, type Lab, type Result } from '../lab/index.ts'
import { millisecondsOf } from './clock.ts'
import { forwardsOf } from './generate.ts'
import { watchLock } from './locks.ts'
import { bareNodes, install, type Installed } from './nodes.ts'
import { lineOf, MANY, ROUNDS_OF_MANY, type Section, type Size } from './section.ts'
import { slowLoad } from './slow.ts'
import { ratios } from './statistics.ts'
import { PART, Table } from './table.ts'
import type { Target } from './targets.ts'
import { clear, load } from './ways.ts'

const APPLY = 'pvenat apply'
const STARTED = `${PART} the start of the program`
const LOCKED = `${PART} with the lock`
const PER_RULE = 'process per rule'

export const loading: Section = {
  name: 'load',
  run: async (size) => {
    const table = new Table(
      'All forwards from nothing, milliseconds',
      'forwards',
      [APPLY, STARTED, LOCKED, PER_RULE, 'linear chain', 'nft map'],
      APPLY,
      'pvenat apply is the whole command; its start is that of pvenat --version. Others only load rules that are ready as text.',
    )
    for (const backend of backends) await measure(backend, size, table)
    return { tables: [table], targets: backends.flatMap((backend) => targets(backend, table)) }
  },
}

async function measure(backend: Backend, size: Size, table: Table): Promise<void> {
  const name = 'pve'
  const lab = await bareNodes([name])
  const installed = new Map<number, Installed>()
  try {
    for (const count of size.forwards) installed.set(count, await install(lab, name, backend, count))
    for (let round = 0; round < size.rounds; round++) {
      for (const [count, { pvenat }] of installed) {
        if (count >= MANY && round >= ROUNDS_OF_MANY) continue
        await measureApply(lab, () => pvenat.run('apply'), lineOf(backend, count), table)
        table.add(lineOf(backend, count), STARTED, [await millisecondsOf(() => pvenat.run('--version'))])
        await measureOthers(lab, backend, count, table)
      }
    }
  } finally {
    await lab.stop()
    for (const { remove } of installed.values()) await remove()
  }
}

async function measureApply(
  lab: Lab,
  apply: () => Promise<Result>,
  line: string,
  table: Table,
): Promise<void> {
  await clear(lab.ns('pve'))
  const { result, holdsMs } = await watchLock(lab, 'pve', async () => {
    const start = performance.now()
    const { exitCode, stderr } = await apply()
    if (exitCode !== 0) throw new Error(`apply: exit ${exitCode}: ${stderr}`)
    return performance.now() - start
  })
  table.add(line, APPLY, [result])
  table.add(line, LOCKED, [holdsMs.reduce((sum, hold) => sum + hold, 0)])
}

async function measureOthers(lab: Lab, backend: Backend, count: number, table: Table): Promise<void> {
  const node = lab.ns('pve')
  const line = lineOf(backend, count)
  const forwards = forwardsOf(count)
  for (const way of ['linear chain', 'nft map'] as const) {
    await clear(node)
    table.add(line, way, [await millisecondsOf(() => load(node, way, backend, forwards))])
  }
  await clear(node)
  const { ms, note } = await slowLoad(node, backend, forwards)
  table.add(line, PER_RULE, [ms], note)
  await clear(node)
}

function targets(backend: Backend, table: Table): Target[] {
  const ratio = (over: [number, string], under: [number, string]): number[] | undefined => {
    const [values, base] = [over, under].map(([count, way]) => table.values(lineOf(backend, count), way))
    return values && base && ratios(values, base)
  }
  return [
    {
      what: `${backend}: one process per rule against pvenat apply, 1,000 forwards`,
      bound: { atLeast: 50 },
      unit: 'x',
      values: ratio([1000, PER_RULE], [1000, APPLY]),
    },
    {
      what: `${backend}: one process per rule against what pvenat writes with the lock, 1,000 forwards`,
      bound: { atLeast: 50 },
      unit: 'x',
      values: ratio([1000, PER_RULE], [1000, LOCKED]),
    },
    {
      what: `${backend}: 10,000 forwards from nothing against 1,000`,
      bound: { atMost: 10 },
      unit: 'x',
      values: ratio([10_000, APPLY], [1000, APPLY]),
    },
  ]
}
