/** Edit after edit: nobody else's new connection fails, and the service does not grow. */
import { backends, type Backend } from '../lab/index.ts'
import { setTimeout as delay } from 'node:timers/promises'
import { askDuring, serve } from './connections.ts'
import { usageOf } from './processes.ts'
import type { Section, Size } from './section.ts'
import { Served } from './served.ts'
import { quantile } from './statistics.ts'
import { Table } from './table.ts'
import type { Target } from './targets.ts'

/** Between two connections while all edits are made. */
const PAUSE_MS = 2
/** Edits while connections are opened as fast as one client can. */
const HURRIED_EDITS = 5
const QUIET_MS = 3000

const COLUMNS = [
  'edits',
  'connections',
  'failed',
  'save to first packet, ms',
  'resident at first, MB',
  'resident at last, MB',
] as const
const RATE_COLUMNS = ['without edits', 'with edits'] as const

export const editing: Section = {
  name: 'edits',
  run: async (size) => {
    const count = Math.min(10_000, Math.max(...size.forwards))
    const name = `${count.toLocaleString('en')} forwards`
    const table = new Table(
      'Edits one after the other, while others connect to a forward that none of them touches',
      name,
      COLUMNS,
      undefined,
      'Each edit is made when the one before is in force. Memory is that of the service and its children, in the second tenth of the edits and in the last.',
    )
    const rates = new Table(
      'New connections a second, by one client in a hurry',
      name,
      RATE_COLUMNS,
      'without edits',
    )
    for (const backend of backends) await measure(backend, count, size, table, rates)
    return { tables: [table, rates], targets: backends.flatMap((backend) => targets(backend, table)) }
  },
}

async function measure(
  backend: Backend,
  count: number,
  size: Size,
  table: Table,
  rates: Table,
): Promise<void> {
  const served = await Served.start(backend, count)
  try {
    const untouched = served.forwards[1]
    if (!untouched) return
    await serve(served.lab, untouched)
    for (let round = 0; round < 3; round++) {
      const quiet = await askDuring(served.lab, untouched, 0, () => delay(QUIET_MS))
      rates.add(backend, 'without edits', [quiet.made / quiet.seconds])
      const hurried = await askDuring(served.lab, untouched, 0, () => edit(served, HURRIED_EDITS))
      rates.add(backend, 'with edits', [hurried.made / hurried.seconds])
    }
    let log: Edited[] = []
    const asked = await askDuring(served.lab, untouched, PAUSE_MS, async () => {
      log = await edit(served, size.edits)
    })
    for (const failure of asked.failures.slice(0, 10))
      console.error(`${backend}: failed connection: ${failure}`)
    const tenth = Math.ceil(log.length / 10)
    table.add(backend, 'edits', [log.length])
    table.add(backend, 'connections', [asked.made])
    table.add(backend, 'failed', [asked.failures.length])
    table.add(
      backend,
      'save to first packet, ms',
      log.map(({ ms }) => ms),
    )
    table.add(
      backend,
      'resident at first, MB',
      log.slice(tenth, 2 * tenth).map(({ residentMb }) => residentMb),
    )
    table.add(
      backend,
      'resident at last, MB',
      log.slice(-tenth).map(({ residentMb }) => residentMb),
    )
  } finally {
    await served.stop()
  }
}

interface Edited {
  ms: number
  residentMb: number
}

async function edit(served: Served, edits: number): Promise<Edited[]> {
  const log: Edited[] = []
  for (let i = 0; i < edits; i++) {
    const { effectMs: ms } = await served.edit()
    log.push({ ms, residentMb: (await usageOf(served.service.pid)).residentMb })
  }
  return log
}

function targets(backend: Backend, table: Table): Target[] {
  const [first, last] = ['resident at first, MB', 'resident at last, MB'].map((column) =>
    table.values(backend, column),
  )
  return [
    {
      what: `${backend}: failed new connections to a forward that no edit touches`,
      bound: { atMost: 0 },
      unit: '',
      values: table.values(backend, 'failed'),
    },
    {
      what: `${backend}: resident memory at the last edits against the first`,
      bound: { atMost: 1.1 },
      unit: 'x',
      values: first && last && [quantile(last, 0.5) / quantile(first, 0.5)],
    },
  ]
}
