/** From the save of a guest's rules to the line in the firewall log that its owner sees in the GUI. */
import { readFile } from 'node:fs/promises'
import { backends, type Backend } from '../lab/index.ts'
import { guiLines } from '../service/firewall-log.ts'
import { lineOf, type Section, type Size } from './section.ts'
import { Served } from './served.ts'
import { Table } from './table.ts'

const LOG = '/var/log/pve-firewall.log'
const COLUMNS = ['save to line, ms', 'save to first packet, ms'] as const
/** Forwards of all guests. */
const COUNT = 1000

export const answering: Section = {
  name: 'answers',
  run: async (size) => {
    const table = new Table(
      'From the save of a rule to the answer in the GUI',
      'forwards',
      COLUMNS,
      undefined,
      'The answer is the line in the firewall log, which Guest > Firewall > Log shows.',
    )
    for (const backend of backends) await measure(backend, size, table)
    return {
      tables: [table],
      targets: backends.map((backend) => ({
        what: `${backend}: save to the line in the firewall log, ${COUNT.toLocaleString('en')} forwards`,
        bound: { atMost: 1000 },
        unit: ' ms',
        values: table.values(lineOf(backend, COUNT), 'save to line, ms'),
      })),
    }
  },
}

async function measure(backend: Backend, size: Size, table: Table): Promise<void> {
  const served = await Served.start(backend, COUNT)
  const guest = served.forwards[0]?.vmid
  try {
    const { lab, service } = served
    await lab.exec('pve', ['sh', '-ec', `mount -t tmpfs tmpfs /var/log; touch ${LOG}`])
    const log = `/proc/${service.pid}/root${LOG}`
    const countLines = async (): Promise<number> => guiLines(await readFile(log, 'utf8'), guest).length
    for (let round = 0; round < size.rounds; round++) {
      const before = await countLines()
      const start = performance.now()
      const [lineMs, edit] = await Promise.all([
        (async () => {
          while ((await countLines()) === before) await new Promise((resolve) => setTimeout(resolve, 1))
          return performance.now() - start
        })(),
        served.edit(),
      ])
      table.add(lineOf(backend, COUNT), 'save to line, ms', [lineMs])
      table.add(lineOf(backend, COUNT), 'save to first packet, ms', [edit.effectMs])
    }
  } finally {
    await served.stop()
  }
}
