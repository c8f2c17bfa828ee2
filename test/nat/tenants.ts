// Random tenants of one node: their files, acts, and gaps of every kind between them.
import fc from 'fast-check'
import { network as networkOf, parseIp, type Range } from '../../src/address.ts'
import { CLUSTER_FW, guestFw, hostFw } from '../../src/nat/view.ts'
import type { Tree } from '../../src/read.ts'
import { plainNetwork } from '../network.ts'

export const VMIDS = [101, 102, 103] as const
export type Vmid = (typeof VMIDS)[number]
export const MAIN = '203.0.113.2'
export const OTHER = '203.0.113.7'
export const [GARBAGE, RESTART] = ['state.json is garbage', 'restart']
export const PORTS = [1000, 1001, 1002, 1003] as const
const INNER = ['10.10.10.5', '10.10.10.6', '10.10.10.7'] as const
const CLIENT = '198.51.100.7'

/** One line of a guest's file: a forward of ports, full=1, or the way out. */
export interface Line {
  isOn: boolean
  kind: 'ports' | 'full' | 'out' | 'snat'
  from: number
  width: number
  /** The external address that it names. */
  address: string | undefined
  /** For one client alone. */
  isForClient: boolean
  /** The inner address that it names. */
  inner: string | undefined
}

export interface Guest {
  isOn: boolean
  lines: Line[]
  /** Undefined: dhcp, of which nothing is known. */
  ip: string | undefined
  /** Counts the guests that had this VMID. */
  life: number
  place: 'here' | 'elsewhere' | 'forgotten'
  file: 'there' | 'missing' | 'unreadable'
}

export interface Node {
  guests: Record<Vmid, Guest>
  hasRoute: boolean
  hasOther: boolean
  isDatacenterOn: boolean
  isHostOn: boolean
  /** UDP and TCP alike; it listens at every address. */
  listens: number | undefined
}

const line: fc.Arbitrary<Line> = fc.record({
  isOn: fc.integer({ min: 0, max: 3 }).map((one) => one > 0),
  kind: fc.constantFrom('ports', 'ports', 'ports', 'ports', 'full', 'out', 'snat'),
  from: fc.constantFrom(...PORTS),
  width: fc.constantFrom(0, 0, 1, 2),
  address: fc.constantFrom(undefined, undefined, MAIN, OTHER, OTHER),
  isForClient: fc.integer({ min: 0, max: 3 }).map((one) => one === 0),
  inner: fc.constantFrom(undefined, undefined, undefined, undefined, ...INNER),
})
const lines = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: line },
    { weight: 1, arbitrary: line.map((one) => ({ ...one, isOn: false })) },
  ),
  { maxLength: 3 },
)
const ip = fc.constantFrom(undefined, ...INNER, ...INNER)

interface Change {
  name: string
  make: (node: Node) => void
}

const guestChange = (name: string, change: (guest: Guest) => void): fc.Arbitrary<Change> =>
  fc
    .constantFrom(...VMIDS)
    .map((vmid) => ({ name: `${vmid} ${name}`, make: (node) => change(node.guests[vmid]) }))
/** Gaps are seldom, so that rights come to be between them. */
const mostly = <T>(usual: T, gap: T): fc.Arbitrary<T> => fc.constantFrom(usual, usual, gap)
const flip = (key: 'hasRoute' | 'hasOther' | 'isDatacenterOn' | 'isHostOn'): fc.Arbitrary<Change> =>
  mostly(true, false).map((is) => ({ name: `${key} ${is}`, make: (node) => void (node[key] = is) }))
const turn = <K extends 'place' | 'file'>(key: K, usual: Guest[K], gap: Guest[K]): fc.Arbitrary<Change> =>
  mostly(usual, gap).chain((now) => guestChange(`${key} ${now}`, (guest) => void (guest[key] = now)))
const nothing = (name: string): fc.Arbitrary<Change> => fc.constant({ name, make: () => undefined })

const edit = lines.chain((all) =>
  guestChange(all.map(textOfLine).join('; '), (guest) => void (guest.lines = all)),
)
const handOver = fc
  .tuple(fc.constantFrom(...VMIDS), fc.integer({ min: 1, max: 2 }))
  .map(([from, by]): Change => {
    const to = VMIDS[(VMIDS.indexOf(from) + by) % VMIDS.length] ?? from
    return {
      name: `${from} gives its rules to ${to}`,
      make({ guests }) {
        const { lines: all } = guests[from]
        guests[from].lines = []
        guests[to].lines = all
      },
    }
  })
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 5, arbitrary: handOver },
  { weight: 3, arbitrary: edit },
  ip.chain((one) => guestChange(`ip ${one}`, (guest) => void (guest.ip = one))),
  mostly(true, false).chain((is) => guestChange(`enable ${is}`, (guest) => void (guest.isOn = is))),
  guestChange('made anew', (guest) => void (guest.life += 1)),
  turn('place', 'here', 'elsewhere'),
  turn('place', 'here', 'forgotten'),
  turn('file', 'there', 'missing'),
  turn('file', 'there', 'unreadable'),
  flip('hasRoute'),
  flip('hasOther'),
  flip('isDatacenterOn'),
  flip('isHostOn'),
  fc
    .constantFrom(undefined, undefined, ...PORTS)
    .map((port): Change => ({ name: `listens ${port}`, make: (node) => void (node.listens = port) })),
  nothing(GARBAGE),
  nothing(RESTART),
  nothing('time'),
)

export const steps = fc.array(
  fc.record({
    change,
    seconds: fc.constantFrom(0, 1, 1, 2, 4),
    garbage: fc.constantFrom('', '[]', '{}', '{"version":2', 'null'),
  }),
  { minLength: 2, maxLength: 14 },
)
const guestAt = (address: string): fc.Arbitrary<Guest> =>
  fc
    .tuple(lines, fc.oneof({ weight: 2, arbitrary: fc.constant(address) }, { weight: 1, arbitrary: ip }))
    .map(([own, at]) => ({ isOn: true, lines: own, ip: at, life: 1, place: 'here', file: 'there' }))
export const start: fc.Arbitrary<Node> = fc
  .record({ 101: guestAt(INNER[0]), 102: guestAt(INNER[1]), 103: guestAt(INNER[2]) })
  .map((guests) => ({
    guests,
    hasRoute: true,
    hasOther: true,
    isDatacenterOn: true,
    isHostOn: true,
    listens: undefined,
  }))

function textOf({ isOn, lines: all }: Guest): string {
  return `[OPTIONS]\nenable: ${isOn ? 1 : 0}\n[RULES]\n${all.map(textOfLine).join('\n')}\n`
}

function textOfLine({ isOn, kind, from, width, address, isForClient, inner }: Line): string {
  const off = isOn ? '' : '|'
  const client = isForClient ? ` -source ${CLIENT}` : ''
  const dest = inner === undefined ? '' : ` -dest ${inner}`
  const at = address === undefined ? '' : `${address}:`
  switch (kind) {
    case 'ports':
      return `${off}IN ACCEPT${client}${dest} -p tcp -dport 80 # NAT ${at}${width === 0 ? from : `${from}-${from + width}`}`
    case 'full':
      return `${off}IN ACCEPT${dest} # NAT ${OTHER} full=1`
    case 'out':
    case 'snat':
      return `${off}OUT ACCEPT${inner === undefined ? '' : ` -source ${inner}`} # NAT${kind === 'snat' ? ` ${OTHER}` : ''}`
  }
}

function configOf(vmid: Vmid, { ip: address, life }: Guest): { type: 'qemu' | 'lxc'; config: string } {
  const mac = `BC:24:11:0${life % 10}:00:${vmid - 90}`
  if (vmid === 102)
    return {
      type: 'qemu',
      config: `meta: creation-qemu=9.0.2,ctime=${1_700_000_000 + life}\nnet0: virtio=${mac},bridge=vmbr1\n${address === undefined ? '' : `ipconfig0: ip=${address}/24\n`}`,
    }
  const text = address === undefined ? 'dhcp' : `${address}/24`
  return { type: 'lxc', config: `net0: name=eth0,bridge=vmbr1,hwaddr=${mac},ip=${text}\n` }
}

export function treeOf(node: Node, read: Map<Vmid, string>): Tree {
  const tree = {
    fw: new Map([
      [CLUSTER_FW, `[OPTIONS]\nenable: ${node.isDatacenterOn ? 1 : 0}\n`],
      [hostFw('pve1'), `[OPTIONS]\nenable: ${node.isHostOn ? 1 : 0}\n`],
    ]),
    guests: [] as Tree['guests'],
    elsewhere: [] as NonNullable<Tree['elsewhere']>,
    owners: new Map<number, string>(),
    stale: [] as NonNullable<Tree['stale']>,
    isClustered: true,
  }
  for (const vmid of VMIDS) {
    const guest = node.guests[vmid]
    if (guest.place === 'forgotten') continue
    const config = { vmid, ...configOf(vmid, guest) }
    tree.owners.set(vmid, guest.place === 'here' ? 'pve1' : 'pve2')
    if (guest.place === 'elsewhere') {
      tree.elsewhere.push({ ...config, node: 'pve2' })
      continue
    }
    tree.guests.push(config)
    if (guest.file === 'there') read.set(vmid, textOf(guest))
    if (guest.file === 'unreadable') tree.stale.push({ file: guestFw(vmid), reason: 'unreadable' })
    const text = read.get(vmid)
    if (guest.file !== 'missing' && text !== undefined) tree.fw.set(guestFw(vmid), text)
  }
  return tree
}

const address = (text: string): Range => parseIp(text) as Range
const network = (hasRoute: boolean, hasOther: boolean) => {
  const at = [MAIN, ...(hasOther ? [OTHER] : [])].map(address)
  const vmbr0 = {
    name: 'vmbr0',
    families: [4 as const],
    addresses: at,
    networks: [networkOf(4, address(MAIN).lo, 24)],
  }
  const vmbr1 = {
    bridge: 'vmbr1',
    network: networkOf(4, address('10.10.10.0').lo, 24),
    address: address('10.10.10.1'),
  }
  return plainNetwork(hasRoute ? [vmbr0] : [], [vmbr1])
}
export const NETWORKS = [true, false].map((hasRoute) =>
  [true, false].map((hasOther) => network(hasRoute, hasOther)),
)
