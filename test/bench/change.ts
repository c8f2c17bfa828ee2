/** One forward is moved: from the save in the GUI to the first packet at the new place, beside what others do for it. */
import { backends, type Backend, type Lab } from '../lab/index.ts'
import { millisecondsOf } from './clock.ts'
import { forwardsOf, FREE_PORT, type BenchForward } from './generate.ts'
import { watchLock } from './locks.ts'
import { bareNodes } from './nodes.ts'
import { lineOf, type Section, type Size } from './section.ts'
import { Served } from './served.ts'
import { slowLoad } from './slow.ts'
import { ratios } from './statistics.ts'
import { PART, Table } from './table.ts'
import type { Target } from './targets.ts'
import { load, mapChange } from './ways.ts'

const SAVED = 'save to first packet'
const PASS = `${PART} the pass`
const LOCKED = `${PART} with the lock`
const READ = `${PART} reading all back`
const PER_RULE = 'process per rule'
/** Edits during which the lock is watched. */
const WATCHED_EDITS = 3

export const changing: Section = {
  name: 'change',
  run: async (size) => {
    const table = new Table(
      'One change, milliseconds',
      'forwards',
      [SAVED, PASS, READ, LOCKED, PER_RULE, 'linear chain', 'nft map'],
      SAVED,
      'With pvenat, from the save of a file until a new connection arrives at the new place; the pass of the service goes on after that, reading back what it wrote: what iptables-save and ipset save take for that, one after the other, is beside it. With the others, only what puts the change into the kernel: everything anew, or two elements of the map.',
    )
    for (const backend of backends)
      for (const count of size.forwards) await measure(backend, count, size, table)
    return { tables: [table], targets: backends.flatMap((backend) => targets(backend, table)) }
  },
}

async function measure(backend: Backend, count: number, { rounds }: Size, table: Table): Promise<void> {
  const line = lineOf(backend, count)
  const served = await Served.start(backend, count)
  const others = await bareNodes(['linear chain', 'nft map', PER_RULE])
  const [linear, map] = [others.ns('linear chain'), others.ns('nft map')]
  try {
    let before = served.forwards
    await load(linear, 'linear chain', backend, before)
    await load(map, 'nft map', backend, before)
    for (let round = 0; round <= rounds; round++) {
      const after = moved(before, FREE_PORT + round)
      const [old, wanted] = [before[0], after[0]]
      if (!old || !wanted) return
      const { effectMs, passMs } = await served.edit()
      const linearMs = await millisecondsOf(() => load(linear, 'linear chain', backend, after))
      const mapMs = await millisecondsOf(() =>
        map.exec(['nft', '-f', '-'], { input: mapChange(old, wanted) }),
      )
      before = after
      // The first round warms up.
      if (round === 0) continue
      table.add(line, SAVED, [effectMs])
      table.add(line, PASS, [passMs])
      table.add(line, READ, [await millisecondsOf(() => readAll(served.lab, backend))])
      table.add(line, 'linear chain', [linearMs])
      table.add(line, 'nft map', [mapMs])
    }
    const { holdsMs } = await watchLock(served.lab, 'pve', async () => {
      for (let i = 0; i < WATCHED_EDITS; i++) await served.edit()
    })
    if (holdsMs.length > 0) table.add(line, LOCKED, holdsMs)
    const { ms, note } = await slowLoad(others.ns(PER_RULE), backend, forwardsOf(count))
    table.add(line, PER_RULE, [ms], note)
  } finally {
    await served.stop()
    await others.stop()
  }
}

async function readAll(lab: Lab, backend: Backend): Promise<void> {
  for (const words of [
    [`iptables-${backend}-save`, '-c'],
    ['ipset', 'save'],
  ])
    await lab.exec('pve', words)
}

function moved([first, ...rest]: readonly BenchForward[], external: number): BenchForward[] {
  return first ? [{ ...first, external }, ...rest] : []
}

function targets(backend: Backend, table: Table): Target[] {
  const values = (count: number, column: string): readonly number[] | undefined =>
    table.values(lineOf(backend, count), column)
  const [few, many] = [values(100, SAVED), values(10_000, SAVED)]
  const [fewPasses, manyPasses] = [values(100, PASS), values(10_000, PASS)]
  return [
    {
      what: `${backend}: save to first packet, 10,000 forwards against 100`,
      bound: { atMost: 3 },
      unit: 'x',
      values: few && many && ratios(many, few),
    },
    {
      what: `${backend}: the pass for one change among 10,000 against one among 100`,
      bound: { atMost: 3 },
      unit: 'x',
      values: fewPasses && manyPasses && ratios(manyPasses, fewPasses),
    },
    {
      what: `${backend}: save to first packet, 100 forwards`,
      bound: { atMost: 300 },
      unit: ' ms',
      values: few,
    },
    {
      what: `${backend}: save to first packet, 10,000 forwards`,
      bound: { atMost: 800 },
      unit: ' ms',
      values: many,
    },
  ]
}
