// Which addresses count as whose: the order of the sources, and what a guest cannot make its own.
import { describe, expect, test } from 'vitest'
import { formatRange, parseIp, type Range } from '../../src/address.ts'
import { parseGuestConfig } from '../../src/guest/config.ts'
import { objectionTo } from '../../src/guest/evidence.ts'
import { readView } from '../../src/read.ts'
import { lookAt, MAC, type World } from './world.ts'

const M7 = MAC[107]
const M8 = MAC[108]
const NET0 = `net0: virtio=${M7},bridge=vmbr1`
const web0 = { 107: `net0: virtio=${M7},bridge=web0`, 108: `net0: virtio=${M8},bridge=web0` }

/** `net0 10.10.10.57 lease` for each address that counts. */
function known(world: World, vmid = 107): string[] {
  const found = readView(lookAt(world)).known.get(vmid)
  const set = found?.set ? [`any ${formatRange(found.set.ip)} ${found.set.from}`] : []
  const nics = [...(found?.nics ?? [])].flatMap(([index, families]) =>
    Object.values(families).map(({ ip, from }) => `net${index} ${formatRange(ip)} ${from}`),
  )
  return [...set, ...nics]
}

function refused(world: World, vmid = 107): string[] {
  const found = readView(lookAt(world)).known.get(vmid)
  return (found?.refused ?? []).map(({ ip, from, why }) => `${formatRange(ip)} ${from}: ${why}`)
}

/** All sources for 107 on web0, each with an address of its own. */
const everySource: World = {
  settings: { 107: '10.20.0.11' },
  conf: { 107: `${web0[107]}\nipconfig0: ip=10.20.0.12/24` },
  fw: { 107: '[IPSET ipfilter-net0]\n10.20.0.13' },
  ipam: { '10.20.0.14': { mac: M7, vmid: '107' } },
  macs: { [M7]: { ip4: '10.20.0.15' } },
  ethers: `${M7},10.20.0.16`,
  leases: [`${M7} 10.20.0.17`],
  neighbours: [`10.20.0.18 ${M7} web0`],
}

test('the order of the sources', () => {
  expect(known(everySource)).toEqual(['any 10.20.0.11 settings', 'net0 10.20.0.12 config'])
  const world = { ...everySource, settings: {}, conf: { 107: web0[107] } }
  const steps: (keyof World)[] = ['fw', 'ipam', 'macs', 'ethers', 'leases', 'neighbours']
  const found = steps.map((step) => {
    const first = known(world)
    delete world[step as 'fw']
    return first.join()
  })
  expect(found).toEqual([
    'net0 10.20.0.13 ipfilter',
    'net0 10.20.0.14 ipam',
    'net0 10.20.0.15 mac-cache',
    'net0 10.20.0.16 ethers',
    'net0 10.20.0.17 lease',
    'net0 10.20.0.18 neighbour',
  ])
  expect(known(world)).toEqual([])
})

describe('counts', () => {
  test.each<[string, World, string[]]>([
    [
      'each family by itself',
      {
        conf: { 107: `${NET0}\nipconfig0: ip=10.10.10.7/24,ip6=auto` },
        neighbours: [`fd10::7 ${M7} vmbr1`, `10.10.10.8 ${M7} vmbr1`],
      },
      ['net0 10.10.10.7 config', 'net0 fd10::7 neighbour'],
    ],
    [
      'each NIC by its MAC',
      { conf: { 107: `${NET0}\nnet1: virtio=${M8},bridge=web0`, 108: '' }, leases: [`${M7} 10.10.10.7`, `${M8} 10.20.0.7`] }, // prettier-ignore
      ['net0 10.10.10.7 lease', 'net1 10.20.0.7 lease'],
    ],
    [
      'IPAM by VMID where there is no MAC, on the NIC of that network',
      {
        conf: { 107: `${NET0}\nnet1: virtio=${M8},bridge=web0`, 108: '' },
        ipam: { '10.20.0.7': { vmid: 107 } },
      },
      ['net1 10.20.0.7 ipam'],
    ],
    [
      'an alias in ipfilter, each family by itself, link-local addresses apart',
      { fw: { 107: '[ALIASES]\nme 10.10.10.7\n[IPSET ipfilter-net0]\nme\nfe80::7\nfd10::7' } },
      ['net0 10.10.10.7 ipfilter', 'net0 fd10::7 ipfilter'],
    ],
    [
      'an alias of cluster.fw in ipfilter',
      { cluster: '[ALIASES]\nit 10.10.10.7', fw: { 107: '[IPSET ipfilter-net0]\ndc/it' } },
      ['net0 10.10.10.7 ipfilter'],
    ],
    [
      'of two neighbours the one in the network of the bridge itself',
      { neighbours: [`10.5.0.7 ${M7} vmbr1.5`, `10.10.10.7 ${M7} vmbr1`] },
      ['net0 10.10.10.7 neighbour'],
    ],
    [
      'a VLAN that the guest tags itself',
      { neighbours: [`10.5.0.7 ${M7} vmbr1.5`] },
      ['net0 10.5.0.7 neighbour'],
    ],
    [
      'the VLAN of a tagged NIC',
      { conf: { 107: `${NET0},tag=5` }, leases: [`${M7} 10.5.0.7`] },
      ['net0 10.5.0.7 lease'],
    ],
    [
      'the same address from several sources',
      { leases: [`${M7} 10.10.10.7`], neighbours: [`10.10.10.7 ${M7} vmbr1`] },
      ['net0 10.10.10.7 lease'],
    ],
    [
      'the same address from ipfilter and IPAM',
      { fw: { 107: '[IPSET ipfilter-net0]\n10.10.10.7' }, ipam: { '10.10.10.7': { mac: M7, vmid: 107 } } },
      ['net0 10.10.10.7 ipfilter'],
    ],
    [
      'IPAM, against the ipfilter of another guest',
      { fw: { 108: '[IPSET ipfilter-net0]\n10.10.10.7' }, ipam: { '10.10.10.7': { mac: M7, vmid: 107 } } },
      ['net0 10.10.10.7 ipam'],
    ],
    [
      'the config of two guests, as of a stopped clone',
      { conf: { 107: `${NET0}\nipconfig0: ip=10.10.10.7/24`, 108: `net0: virtio=${M8},bridge=vmbr1\nipconfig0: ip=10.10.10.7/24` } }, // prettier-ignore
      ['net0 10.10.10.7 config'],
    ],
    [
      'the next source where one does not count',
      { leases: [`${M7} 10.20.0.7`], neighbours: [`10.10.10.7 ${M7} vmbr1`] },
      ['net0 10.10.10.7 neighbour'],
    ],
    ['an external address of the config', { conf: { 107: `net0: virtio=${M7},bridge=vmbr0\nipconfig0: ip=203.0.113.7/24` } }, ['net0 203.0.113.7 config']], // prettier-ignore
  ])('%s', (_, world, expected) => {
    expect(known(world)).toEqual(expected)
  })
})

describe('does not count', () => {
  test.each<[string, World, string[]]>([
    [
      'several neighbours in one network',
      { neighbours: [`10.10.10.7 ${M7} vmbr1`, `10.10.10.8 ${M7} vmbr1`] },
      ['10.10.10.7 neighbour: net0 has several there', '10.10.10.8 neighbour: net0 has several there'],
    ],
    ['several hosts in ipfilter', { fw: { 107: '[IPSET ipfilter-net0]\n10.10.10.7\n10.10.10.8' } }, []],
    ['a network in ipfilter', { fw: { 107: '[IPSET ipfilter-net0]\n10.10.10.0/28' } }, []],
    ['nomatch in ipfilter', { fw: { 107: '[IPSET ipfilter-net0]\n!10.10.10.7' } }, []],
    ['the ipfilter of another NIC', { fw: { 107: '[IPSET ipfilter-net1]\n10.10.10.7' } }, []],
    ['a neighbour on another bridge', { neighbours: [`10.10.10.7 ${M7} web0`] }, []],
    [
      'a bridge whose name goes on',
      { leases: [`${M7} 10.110.0.7`] },
      ['10.110.0.7 lease: it is in no internal network on vmbr1'],
    ],
    [
      'an untagged network for a tagged NIC',
      { conf: { 107: `${NET0},tag=5` }, leases: [`${M7} 10.10.10.7`] },
      ['10.10.10.7 lease: it is in no internal network on vmbr1 in VLAN 5'],
    ],
    [
      'an external address by lease',
      { conf: { 107: `net0: virtio=${M7},bridge=vmbr0` }, leases: [`${M7} 203.0.113.7`] },
      ['203.0.113.7 lease: it is in no internal network on vmbr0'],
    ],
    [
      'the node’s own address, by lease',
      { leases: [`${M7} 10.10.10.1`] },
      ['10.10.10.1 lease: it is an address of this node'],
    ],
    [
      'the node’s own address, by config',
      { conf: { 107: `${NET0}\nipconfig0: ip=10.10.10.1/24` } },
      ['10.10.10.1 config: it is an address of this node'],
    ],
    [
      'IPAM of the same MAC and another VMID',
      { conf: { 107: web0[107] }, ipam: { '10.20.0.7': { mac: M7, vmid: 300 } } },
      [],
    ],
    ['snapshots and pending changes', { conf: { 107: `${NET0}\n[PENDING]\nipconfig0: ip=10.10.10.7/24\n[s1]\nipconfig0: ip=10.10.10.8/24` } }, []], // prettier-ignore
    ['a NIC without bridge', { conf: { 107: `net0: virtio=${M7}` }, leases: [`${M7} 10.10.10.7`] }, ['10.10.10.7 lease: it is in no internal network on its bridge']], // prettier-ignore
  ])('%s', (_, world, reasons) => {
    expect(known(world)).toEqual([])
    expect(refused(world)).toEqual(reasons)
  })
})

test.each([
  ['the first address of the network', '10.10.10.0', 'it is no address of a single machine'],
  ['the last one', '10.10.10.255', 'it is no address of a single machine'],
  ['loopback', '127.0.0.7', 'it is no address of a single machine'],
  ['link-local', '169.254.1.7', 'it is no address of a single machine'],
  ['multicast', '224.0.0.7', 'it is no address of a single machine'],
  ['broadcast', '255.255.255.255', 'it is no address of a single machine'],
  ['a next hop', '10.10.10.2', 'a route of this node leads over it'],
  ['another machine', '10.10.10.3', 'another machine answers at it (BC:24:11:99:99:99)'],
])('%s is nobody’s, also in a config', (_, address, reason) => {
  const conf = { 107: `${NET0}\nipconfig0: ip=${address}/24` }
  const look = lookAt({ conf, neighbours: ['10.10.10.3 BC:24:11:99:99:99 vmbr1'] })
  const { known: all, evidence } = readView({
    ...look,
    network: { ...look.network, nextHops: [parseIp('10.10.10.2') as Range], links: new Map() },
  })
  expect([...(all.get(107)?.nics.values() ?? [])]).toEqual([{}])
  expect(objectionTo(parseIp(address) as Range, parseGuestConfig(conf[107], 107, 'qemu'), evidence)).toBe(
    reason,
  )
})

describe('what is another guest’s', () => {
  const lease: World = { leases: [`${M7} 10.10.10.8`] }
  test.each<[string, World, string, string[]]>([
    ['settings', { ...lease, settings: { 300: '10.10.10.8' } }, 'the settings give it to guest 300', []],
    [
      'config',
      { ...lease, conf: { 108: `net0: name=eth0,bridge=vmbr1,hwaddr=${M8},ip=10.10.10.8/24` } },
      'guest 108 has it in its config',
      ['net0 10.10.10.8 config'],
    ],
    [
      'ipfilter',
      { ...lease, fw: { 108: '[IPSET ipfilter-net0]\n10.10.10.8\n10.10.10.9' } },
      'guest 108 has it in its ipfilter',
      [],
    ],
    [
      'IPAM of a guest elsewhere',
      { ...lease, ipam: { '10.10.10.8': { vmid: '300', mac: 'BC:24:11:00:03:00' } } },
      'SDN IPAM gives it to guest 300',
      [],
    ],
    [
      'config, against ipfilter',
      { conf: { 108: `net0: name=eth0,bridge=vmbr1,hwaddr=${M8},ip=10.10.10.8/24` }, fw: { 107: '[IPSET ipfilter-net0]\n10.10.10.8' } }, // prettier-ignore
      'guest 108 has it in its config',
      ['net0 10.10.10.8 config'],
    ],
    [
      'IPAM, against a copied MAC',
      { conf: { ...web0, 107: web0[108] }, ipam: { '10.20.0.8': { mac: M8, vmid: 108 } }, macs: { [M8]: { ip4: '10.20.0.8' } } }, // prettier-ignore
      'SDN IPAM gives it to guest 108',
      ['net0 10.20.0.8 ipam'],
    ],
  ])('%s', (_, world, reason, others) => {
    expect(known(world)).toEqual([])
    expect(refused(world).map((one) => one.split(': ')[1])).toEqual([reason])
    expect(known(world, 108)).toEqual(others)
  })

  test.each<[string, World]>([
    ['leases', { leases: [`${M7} 10.10.10.8`, `${M8} 10.10.10.8`] }],
    ['lease and neighbour', { leases: [`${M8} 10.10.10.8`], neighbours: [`10.10.10.8 ${M7} vmbr1`] }],
    ['ipfilter', { fw: { 107: '[IPSET ipfilter-net0]\n10.10.10.8', 108: '[IPSET ipfilter-net0]\n10.10.10.8' } }], // prettier-ignore
    ['a copied MAC', { conf: { 107: `net0: virtio=${M8},bridge=vmbr1` }, leases: [`${M8} 10.10.10.8`] }],
  ])('the same address at two guests is neither’s: %s', (_, world) => {
    expect([...known(world), ...known(world, 108)]).toEqual([])
    expect(refused(world).at(-1)).toMatch(/: guest 108 shows the same address$/)
    expect(refused(world, 108).at(-1)).toMatch(/: guest 107 shows the same address$/)
  })
})
