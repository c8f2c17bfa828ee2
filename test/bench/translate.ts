/** From text to rules, in this process: what reading and translating cost for each megabyte and each rule. */
import { plainNetwork } from '../network.ts'
import { readFile } from 'node:fs/promises'
import { network, parseIp, type Range } from '../../src/address.ts'
import { NOTHING_LEARNT } from '../../src/guest/sightings.ts'
import { translate } from '../../src/nat/translate.ts'
import { readView, type Look } from '../../src/read.ts'
import { buildRuleset } from '../../src/ruleset/chains.ts'
import { NOTHING_INSTALLED } from '../../src/ruleset/installed.ts'
import { makePlan } from '../../src/ruleset/plan.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { EXTERNAL, forwardsOf, NODE, treeFiles } from './generate.ts'
import { MANY, ROUNDS_OF_MANY, type Section, type Size } from './section.ts'
import { Table } from './table.ts'

const STAGES = ['read', 'translate', 'ruleset', 'text'] as const
const MIB = 2 ** 20

export const translating: Section = {
  name: 'translate',
  run: async (size) => {
    const table = new Table(
      'Files to rules, from nothing, milliseconds of CPU time',
      'forwards',
      ['MiB', ...STAGES, 'all', 'a MiB', 'a rule, us'],
      undefined,
      'Files are .fw files and guest configs. The last two columns are of all four stages together.',
    )
    const sums = new Map<string, number[]>()
    for (const { look, bytes, count, isAuto } of await looks(size)) {
      const mib = bytes / MIB
      const line = `${count.toLocaleString('en')}${isAuto ? ' auto' : ''}`
      table.add(line, 'MiB', [mib])
      const rounds = Math.min(size.rounds, count >= MANY ? ROUNDS_OF_MANY : Infinity)
      for (let round = 0; round <= rounds; round++) {
        const times = timeStages(look)
        // The first round warms up.
        if (round === 0) continue
        const all = times.reduce((sum, ms) => sum + ms, 0)
        STAGES.forEach((stage, i) => table.add(line, stage, [times[i] ?? NaN]))
        table.add(line, 'all', [all])
        sums.set(line, [...(sums.get(line) ?? []), all])
        table.add(line, 'a MiB', [all / mib])
        table.add(line, 'a rule, us', [(all / count) * 1000])
      }
    }
    const [numbers, auto] = ['10,000', '10,000 auto'].map((line) => sums.get(line))
    const values = numbers && auto?.map((ms, i) => ms / (numbers[i] ?? NaN))
    const what = 'files to rules: 10,000 NAT auto against as many numbers'
    return { tables: [table], targets: [{ what, bound: { atMost: 1.2 }, unit: ' times', values }] }
  },
}

/** Milliseconds of CPU time of each of `STAGES`, garbage collection included. */
function timeStages(look: Look): number[] {
  const marks = [cpuMs()]
  const view = readView(look)
  marks.push(cpuMs())
  const translation = translate(view)
  marks.push(cpuMs())
  const ruleset = buildRuleset(translation, view)
  marks.push(cpuMs())
  makePlan(ruleset, NOTHING_INSTALLED)
  marks.push(cpuMs())
  return marks.slice(1).map((mark, i) => mark - (marks[i] ?? mark))
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

interface Prepared {
  look: Look
  bytes: number
  count: number
  /** Every forward is NAT auto in place of a number. */
  isAuto: boolean
}

async function looks({ forwards }: Size): Promise<Prepared[]> {
  const [services, protocols] = await Promise.all(
    ['/etc/services', '/etc/protocols'].map((file) => readFile(file, 'latin1')),
  )
  const all = forwards.flatMap((count) => [false, true].map((isAuto) => ({ count, isAuto })))
  return all.map(({ count, isAuto }) => {
    const files = [...treeFiles(forwardsOf(count))].flatMap(([name, text]): [string, string][] =>
      /\.(fw|conf)$/.test(name) ? [[name, isAuto ? text.replace(/NAT \d+/g, 'NAT auto') : text]] : [],
    )
    const guests = files.flatMap(([name, config]) => {
      const vmid = /(\d+)\.conf$/.exec(name)?.[1]
      return vmid === undefined ? [] : [{ vmid: Number(vmid), type: 'lxc' as const, config }]
    })
    const look: Look = {
      node: NODE,
      now: 1_760_000_000,
      hasProxmoxFirewall: false,
      network: NETWORK,
      listeners: [],
      learnt: NOTHING_LEARNT,
      settings: isAuto
        ? { ...DEFAULT_SETTINGS, guestBlock: { ports: [20_000, 59_999], size: 40 } }
        : DEFAULT_SETTINGS,
      services: services ?? '',
      protocols: protocols ?? '',
      tree: {
        fw: new Map(files.filter(([name]) => name.endsWith('.fw'))),
        guests,
        owners: new Map(guests.map(({ vmid }) => [vmid, NODE])),
      },
    }
    return { look, count, isAuto, bytes: files.reduce((sum, [, text]) => sum + text.length, 0) }
  })
}

const ip = (text: string): Range => {
  const address = parseIp(text)
  if (!address) throw new Error(`not an address: ${text}`)
  return address
}

const NETWORK = plainNetwork(
  [
    {
      name: 'vmbr0',
      families: [4],
      addresses: [ip(EXTERNAL)],
      networks: [network(4, ip('203.0.113.0').lo, 24)],
    },
  ],
  [{ bridge: 'vmbr1', network: network(4, ip('10.10.0.0').lo, 16), address: ip('10.10.0.1') }],
)
