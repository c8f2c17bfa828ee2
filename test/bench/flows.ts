/** What a new connection costs: its first packet passes the nat table, the others do not. */
import { fileURLToPath } from 'node:url'
import { backends, type Backend, type Lab } from '../lab/index.ts'
import { addressOf, EXTERNAL, forwardsOf, FIRST_PORT, FREE_PORT, FREE_PORTS } from './generate.ts'
import { bareNodes, install, TUN } from './nodes.ts'
import { lineOf, type Measured, type Section, type Size } from './section.ts'
import { ratios } from './statistics.ts'
import { Table } from './table.ts'
import type { Target } from './targets.ts'
import { load } from './ways.ts'

const sender = fileURLToPath(new URL('flows.pl', import.meta.url))
const FIRST_CLIENT_PORT = 1024
const PACKETS = 10_000
/** Where the one forward stands among all. */
const SOMEWHERE = 0.6

const COMPARED = ['pvenat', 'linear chain', 'nft map'] as const
const EMPTY = 'empty nat table'

/** To all forwards in turn, to one of them, to a port of the node that is none, and through the node to somebody else. */
const KINDS = ['hit', 'same', 'miss', 'passing'] as const
type Kind = (typeof KINDS)[number]

interface Variant {
  node: string
  way: (typeof COMPARED)[number] | typeof EMPTY
  forwards: number
}

export const flows: Section = {
  name: 'connections',
  run: async (size) => {
    const table = new Table(
      'Cost of a new connection, microseconds of CPU time',
      'forwards',
      ['pvenat', 'linear chain', 'nft map', EMPTY],
      'pvenat',
      'hit: to all forwards in turn, so that the rules of each are no longer in the cache; same: always to the same one; both beside a connection that is routed without NAT. miss: to a port of the node that is no forward. passing: routed, to another address.',
    )
    for (const backend of backends) await measure(backend, size, table)
    return {
      tables: [table],
      targets: backends.flatMap((backend) => targets(backend, table)),
    } satisfies Measured
  },
}

async function measure(backend: Backend, size: Size, table: Table): Promise<void> {
  const variants: Variant[] = [
    { node: EMPTY, way: EMPTY, forwards: 1 },
    ...size.forwards.flatMap((forwards) =>
      COMPARED.map((way) => ({ node: `${way} ${forwards}`, way, forwards })),
    ),
  ]
  const lab = await bareNodes(variants.map(({ node }) => node))
  try {
    for (const variant of variants) await prepare(lab, variant, backend)
    for (let round = 0; round <= size.rounds; round++) {
      for (const variant of variants) {
        const costs = await sendPackets(lab, variant)
        // The first round warms up.
        if (round > 0) note(variant, costs, backend, size, table)
      }
    }
  } finally {
    await lab.stop()
  }
}

/**
 * In all of them conntrack is at work, as on every node with pve-firewall, and what is for the node itself is dropped at its
 * door, so that no answer is measured.
 */
async function prepare(lab: Lab, { node, way, forwards }: Variant, backend: Backend): Promise<void> {
  const common = `*filter\n-A INPUT -i ${TUN} -j DROP\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n`
  const chains = ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'].map((name) => `:${name} ACCEPT\n`).join('')
  const nat = way === EMPTY ? `*nat\n${chains}COMMIT\n` : ''
  await lab.exec(node, [`iptables-${backend}-restore`, '-n', '-w', '5'], { input: common + nat })
  if (way === EMPTY) return
  if (way !== 'pvenat') return load(lab.ns(node), way, backend, forwardsOf(forwards))
  const { pvenat, remove } = await install(lab, node, backend, forwards)
  const { exitCode, stderr } = await pvenat.run('apply')
  await remove()
  if (exitCode !== 0) throw new Error(`apply: exit ${exitCode}: ${stderr}`)
}

async function sendPackets(lab: Lab, { node, forwards }: Variant): Promise<Record<Kind, number>> {
  const destinations = [
    `${EXTERNAL}:${FIRST_PORT}:${forwards}`,
    `${EXTERNAL}:${FIRST_PORT + Math.floor(forwards * SOMEWHERE)}:1`,
    `${EXTERNAL}:${FREE_PORT}:${FREE_PORTS}`,
    `${addressOf(2000)}:${FREE_PORT}:${FREE_PORTS}`,
  ]
  const { stdout } = await lab.exec(node, [
    'perl',
    sender,
    TUN,
    `${PACKETS}`,
    `${FIRST_CLIENT_PORT}`,
    ...destinations,
  ])
  await lab.exec(node, ['conntrack', '-F'])
  const [hit = NaN, same = NaN, miss = NaN, passing = NaN] = stdout.split('\n').map(Number)
  return { hit, same, miss, passing }
}

function note(
  { way, forwards }: Variant,
  costs: Record<Kind, number>,
  backend: Backend,
  size: Size,
  table: Table,
) {
  // Without forwards nothing can be hit; what a hit is beside is a connection to the guest that needs no NAT.
  if (way === EMPTY) {
    for (const forwards of size.forwards)
      for (const kind of KINDS)
        table.add(lineOf(backend, forwards, ` ${kind}`), way, [
          costs[kind === 'hit' || kind === 'same' ? 'passing' : kind],
        ])
  } else {
    for (const kind of KINDS) table.add(lineOf(backend, forwards, ` ${kind}`), way, [costs[kind]])
  }
}

function targets(backend: Backend, table: Table): Target[] {
  const ratio = (kind: Kind, way: string, forwards: number): number[] | undefined => {
    const many = table.values(lineOf(backend, 10_000, ` ${kind}`), 'pvenat')
    const base = table.values(lineOf(backend, forwards, ` ${kind}`), way)
    return many && base && ratios(many, base)
  }
  const cost = (kind: Kind): string => `${backend}: new connection, ${kind}, 10,000 forwards against`
  return [
    { what: `${cost('hit')} 1`, bound: { atMost: 1.15 }, unit: 'x', values: ratio('hit', 'pvenat', 1) },
    { what: `${cost('miss')} 1`, bound: { atMost: 1.1 }, unit: 'x', values: ratio('miss', 'pvenat', 1) },
    {
      what: `${cost('hit')} an nft map`,
      bound: { atMost: 1.25 },
      unit: 'x',
      values: ratio('hit', 'nft map', 10_000),
    },
    {
      what: `${cost('miss')} an nft map`,
      bound: { atMost: 1.25 },
      unit: 'x',
      values: ratio('miss', 'nft map', 10_000),
    },
  ]
}
