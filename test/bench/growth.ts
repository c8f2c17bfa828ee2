/** Half an hour of edits, and what the service takes when it has come to rest again. */
import { setTimeout as delay } from 'node:timers/promises'
import { backends, type Backend } from '../lab/index.ts'
import { REST_MS, restingMb } from './idle.ts'
import { usageOf } from './processes.ts'
import type { Section, Size } from './section.ts'
import { Served } from './served.ts'
import { quantile } from './statistics.ts'
import { Table } from './table.ts'
import type { Target } from './targets.ts'

/** An edit begins each three seconds, as if a crowd of tenants were at it. */
const PACE_MS = 3000
const [EDITS, BEFORE, DURING, AFTER] = [
  'edits',
  'at rest before, MB',
  'during edits, MB',
  'at rest after, MB',
]

export const growing: Section = {
  name: 'growth',
  run: async (size) => {
    const count = Math.min(10_000, Math.max(...size.forwards))
    const table = new Table(
      `Memory over ${size.growthMinutes} minutes of edits`,
      `${count.toLocaleString('en')} forwards`,
      [EDITS, BEFORE, DURING, AFTER],
      undefined,
      'An edit each three seconds, on both backends at once. Of the service and its children.',
    )
    await Promise.all(backends.map((backend) => measure(backend, count, size, table)))
    return { tables: [table], targets: backends.flatMap((backend) => targets(backend, table)) }
  },
}

async function measure(backend: Backend, count: number, size: Size, table: Table): Promise<void> {
  const served = await Served.start(backend, count)
  try {
    const { pid } = served.service
    // The first edits also fetch what all later ones need.
    for (let i = 0; i < 10; i++) await served.edit()
    await delay(REST_MS)
    table.add(backend, BEFORE, await restingMb(pid))
    let edits = 0
    for (const endMs = performance.now() + size.growthMinutes * 60_000; performance.now() < endMs; edits++) {
      const pace = delay(PACE_MS)
      await served.edit()
      table.add(backend, DURING, [(await usageOf(pid)).residentMb])
      await pace
    }
    table.add(backend, EDITS, [edits])
    await delay(REST_MS)
    table.add(backend, AFTER, await restingMb(pid))
  } finally {
    await served.stop()
  }
}

function targets(backend: Backend, table: Table): Target[] {
  const [before, after] = [table.values(backend, BEFORE), table.values(backend, AFTER)]
  return [
    {
      what: `${backend}: memory at rest after the edits against before`,
      bound: { atMost: 1.05 },
      unit: 'x',
      values: before && after && [quantile(after, 0.5) / quantile(before, 0.5)],
    },
    {
      what: `${backend}: memory at rest after the edits`,
      bound: { atMost: 120 },
      unit: ' MB',
      values: after,
    },
  ]
}
