/** What the service costs while nothing happens. */
import { setTimeout as delay } from 'node:timers/promises'
import { backends, type Backend } from '../lab/index.ts'
import { guestCount } from './generate.ts'
import { usageOf } from './processes.ts'
import type { Section, Size } from './section.ts'
import { Served } from './served.ts'
import { Table } from './table.ts'
import type { Target } from './targets.ts'

const SAMPLE_MS = 1000
const RESTING_SAMPLES = 20
/** The service has come to rest: what its start took is given back. */
export const REST_MS = 60_000
const CPU = 'CPU, % of one core'
const RESIDENT = 'resident, MB'

export const idling: Section = {
  name: 'idle',
  run: async (size) => {
    const count = Math.min(10_000, Math.max(...size.forwards))
    const table = new Table(
      `The service idle, for ${size.idleSeconds} s, with ${guestCount(count).toLocaleString('en')} guest files`,
      `${count.toLocaleString('en')} forwards`,
      [CPU, RESIDENT],
      undefined,
      'From a minute after its start on. All children included, also those that have ended.',
    )
    // Both at once: CPU time is accounted for by process.
    await Promise.all(backends.map((backend) => measure(backend, count, size, table)))
    return { tables: [table], targets: backends.flatMap((backend) => targets(backend, table)) }
  },
}

async function measure(backend: Backend, count: number, { idleSeconds }: Size, table: Table): Promise<void> {
  const served = await Served.start(backend, count)
  try {
    const { pid } = served.service
    await delay(REST_MS)
    const startMs = performance.now()
    const before = await usageOf(pid)
    let last = before
    const resident: number[] = []
    while (performance.now() - startMs < idleSeconds * 1000) {
      await delay(SAMPLE_MS)
      last = await usageOf(pid)
      resident.push(last.residentMb)
    }
    const seconds = (performance.now() - startMs) / 1000
    table.add(backend, CPU, [(100 * (last.cpuSeconds - before.cpuSeconds)) / seconds])
    table.add(backend, RESIDENT, resident)
  } finally {
    await served.stop()
  }
}

/** What a service at rest takes, second by second for some time. */
export async function restingMb(pid: number): Promise<number[]> {
  const resident: number[] = []
  for (let i = 0; i < RESTING_SAMPLES; i++) {
    await delay(SAMPLE_MS)
    resident.push((await usageOf(pid)).residentMb)
  }
  return resident
}

function targets(backend: Backend, table: Table): Target[] {
  return [
    {
      what: `${backend}: CPU of the idle service`,
      bound: { atMost: 1 },
      unit: ' %',
      values: table.values(backend, CPU),
    },
    {
      what: `${backend}: memory of the idle service`,
      bound: { atMost: 120 },
      unit: ' MB',
      values: table.values(backend, RESIDENT),
    },
  ]
}
