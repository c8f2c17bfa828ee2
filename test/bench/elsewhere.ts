/** Edits through another node of the cluster, of which no event tells: how soon they are in force, and what it costs to look for them. */
import { setTimeout as delay } from 'node:timers/promises'
import { MAX_PAUSE_MS, pauseMs, READER_COMMAND } from '../../src/node/reader.ts'
import { guestCount } from './generate.ts'
import { memberOf, usageOf } from './processes.ts'
import type { Section, Size } from './section.ts'
import { Served } from './served.ts'
import { Table } from './table.ts'
import type { Target } from './targets.ts'

/** Ten forwards for each guest, and how soon an edit has to be in force, in milliseconds. */
const SIZES: readonly [forwards: number, withinMs: number][] = [
  [3000, 1500],
  [10_000, 3000],
]
const EDITS_A_ROUND = 3
const SAVED = 'save to first packet, ms'
const CPU = 'CPU of the reader at rest, % of one core'
const MORE = 'of that for not looking each 5 s only'

export const elsewhere: Section = {
  name: 'elsewhere',
  run: async (size) => {
    const table = new Table(
      'Edits through another node of the cluster, of which no event tells',
      'guest files',
      [SAVED, CPU, MORE],
      undefined,
      'Each edit is made as soon as the one before is in force, so that most of a pause between two looks lies ahead of it. /etc/pve is a FUSE file system; what its own process takes does not count.',
    )
    for (const [forwards] of SIZES) await measure(forwards, size, table)
    return { tables: [table], targets: SIZES.flatMap((one) => targets(table, ...one)) }
  },
}

const nameOf = (forwards: number): string => guestCount(forwards).toLocaleString('en')

async function measure(forwards: number, { rounds, idleSeconds }: Size, table: Table): Promise<void> {
  const served = await Served.start('legacy', forwards, true)
  try {
    for (let i = 0; i < rounds * EDITS_A_ROUND; i++)
      table.add(nameOf(forwards), SAVED, [(await served.edit()).effectMs])
    const reader = await memberOf(served.service.pid, READER_COMMAND)
    const before = await usageOf(reader)
    await delay(idleSeconds * 1000)
    const after = await usageOf(reader)
    const cpu = (100 * (after.cpuSeconds - before.cpuSeconds)) / idleSeconds
    table.add(nameOf(forwards), CPU, [cpu])
    table.add(nameOf(forwards), MORE, [cpu * (1 - pauseMs(guestCount(forwards)) / MAX_PAUSE_MS)])
  } finally {
    await served.stop()
  }
}

function targets(table: Table, forwards: number, withinMs: number): Target[] {
  const name = nameOf(forwards)
  return [
    {
      what: `an edit through another node among ${name} guest files`,
      bound: { atMost: withinMs },
      unit: ' ms',
      values: table.values(name, SAVED),
    },
    {
      what: `CPU of the reader for looking that often, ${name} guest files`,
      bound: { atMost: 0.5 },
      unit: ' %',
      values: table.values(name, MORE),
    },
  ]
}
