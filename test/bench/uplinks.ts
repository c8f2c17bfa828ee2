/** What several uplinks cost each packet: the marks by which answers leave by the uplink by which their connection came. */
import { fileURLToPath } from 'node:url'
import { backends, type Backend, type Lab } from '../lab/index.ts'
import { addressOf } from './generate.ts'
import { bareNodes, install, TUN } from './nodes.ts'
import type { Measured, Section, Size } from './section.ts'
import { Table } from './table.ts'

const sender = fileURLToPath(new URL('packets.pl', import.meta.url))
const PACKETS = 100_000
/** One: a single uplink, of which nothing is marked. */
const ADDRESSES = [1, 2, 4, 16] as const
const GUEST = addressOf(2000)
/** A client that the TUN device plays, and the port of the connection of which packets are measured. */
const CLIENT = '198.51.100.7'
const PORT = 5000

const KINDS = ['others', 'answers of the last address'] as const

export const uplinks: Section = {
  name: 'uplinks',
  run: async (size) => {
    const table = new Table(
      'Several uplinks: cost of a packet of a connection that stands, nanoseconds of CPU time',
      'addresses of uplinks',
      KINDS,
      undefined,
      'others: routed, of a connection that no rule of ours is about; answers: of a forward at the address whose mark stands last. The line 1 is a node with one uplink, of which nothing is marked.',
    )
    for (const backend of backends) await measure(backend, size, table)
    return { tables: [table], targets: [] } satisfies Measured
  },
}

async function measure(backend: Backend, size: Size, table: Table): Promise<void> {
  const names = ADDRESSES.map((count) => `with ${count}`)
  const lab = await bareNodes(names)
  try {
    for (const [i, count] of ADDRESSES.entries()) await prepare(lab, names[i] ?? '', count, backend)
    for (let round = 0; round <= size.rounds; round++) {
      for (const [i, count] of ADDRESSES.entries()) {
        const { stdout } = await lab.exec(names[i] ?? '', [
          'perl',
          sender,
          TUN,
          `${PACKETS}`,
          CLIENT,
          GUEST,
          `${PORT}`,
        ])
        // The first round warms up.
        if (round > 0)
          stdout
            .trim()
            .split('\n')
            .forEach((ns, kind) => table.add(`${backend} ${count}`, KINDS[kind] ?? '', [Number(ns)]))
      }
    }
  } finally {
    await lab.stop()
  }
}

/** The second uplink is a bridge without ports, which has all addresses but one. The guest of the forward sits behind the TUN device. */
async function prepare(lab: Lab, node: string, count: number, backend: Backend): Promise<void> {
  const others = Array.from({ length: count - 1 }, (_, i) => `192.0.2.${i + 2}`)
  if (others.length > 0)
    await lab.ip(node, [
      'link add eth1 type bridge',
      'link set eth1 arp off up',
      ...others.map((address) => `addr add ${address}/24 dev eth1`),
      'route add default via 192.0.2.1 dev eth1 metric 200',
    ])
  await lab.ns(node).setSysctls({ 'net/netfilter/nf_conntrack_tcp_be_liberal': 1 })
  const { pvenat, remove } = await install(lab, node, backend, 1)
  const { exitCode, stderr } = await pvenat.run('apply')
  await remove()
  if (exitCode !== 0) throw new Error(`apply: exit ${exitCode}: ${stderr}`)
  // A connection from a guest to the last address, forwarded to the client: packets of the client are its answers.
  const entry = `-I -p tcp -s ${GUEST} -d ${others.at(-1) ?? '203.0.113.1'} --sport ${PORT} --dport ${PORT}`
  const forwarded = `--dst-nat ${CLIENT} --state ESTABLISHED --timeout 3600 --status SEEN_REPLY,ASSURED`
  await lab.exec(node, ['conntrack', ...`${entry} ${forwarded}`.split(' ')])
}
