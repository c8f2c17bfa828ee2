// What rules make of known addresses: where a forward leads, whose a typed address is, and what is said when nothing is known.
import { describe, expect, test } from 'vitest'
import { formatRange } from '../../src/address.ts'
import { word } from '../../src/diagnostic.ts'
import { translate } from '../../src/nat/translate.ts'
import { readView } from '../../src/read.ts'
import { lookAt, MAC, type World } from './world.ts'

const M7 = MAC[107]
const M8 = MAC[108]
const twoNics = `net0: virtio=${M7},bridge=vmbr0\nnet1: virtio=${M8},bridge=vmbr1`

/** Inner addresses, sources of masquerade, and messages. */
function outcome(rule: string, world: World): string[] {
  const fw = { ...world.fw, 107: `${world.fw?.[107] ?? ''}\n[RULES]\n${rule}` }
  const { rules, diagnostics } = translate(readView(lookAt({ ...world, fw })))
  const ranges = rules.flatMap(({ forwards, egresses, state }) =>
    state === 'active'
      ? [
          ...forwards.map(({ inner }) => inner),
          ...egresses.flatMap(({ source }) => (source.ranges === 'any' ? [] : source.ranges)),
        ]
      : [],
  )
  return [...ranges.map(formatRange), ...diagnostics.map((one) => word(one).message)]
}

const SSH = 'IN SSH(ACCEPT) # NAT 822'

describe('a rule without destination', () => {
  test.each<[string, string, World, string[]]>([
    ['leads to the lease', SSH, { leases: [`${M7} 10.10.10.57`] }, ['10.10.10.57']],
    [
      'follows the lease',
      SSH,
      { leases: [`${M7} 10.10.10.58`], neighbours: [`10.10.10.57 ${M7} vmbr1`] },
      ['10.10.10.58'],
    ],
    [
      'leads to the settings’ address first',
      SSH,
      { settings: { 107: '10.10.10.9' }, leases: [`${M7} 10.10.10.57`] },
      ['10.10.10.9'],
    ],
    [
      'leads to the settings’ address in the external network, too',
      'IN SSH(ACCEPT) # NAT 822 snat=1',
      { settings: { 107: '203.0.113.9' }, leases: [`${M7} 10.10.10.57`] },
      ['203.0.113.9'],
    ],
    [
      'leads to both families',
      SSH,
      { neighbours: [`10.10.10.57 ${M7} vmbr1`, `fd10::57 ${M7} vmbr1`] },
      ['10.10.10.57', 'fd10::57'],
    ],
    [
      'leads to the first NIC in an internal network',
      SSH,
      {
        conf: { 107: `${twoNics}\nipconfig0: ip=203.0.113.7/24`, 108: '' },
        neighbours: [`10.10.10.57 ${M8} vmbr1`],
      },
      ['10.10.10.57'],
    ],
    [
      'leads to the NIC that it names',
      'IN SSH(ACCEPT) -i net1 # NAT 822',
      {
        conf: { 107: `net0: virtio=${M7},bridge=web0\nnet1: virtio=${M8},bridge=vmbr1`, 108: '' },
        leases: [`${M7} 10.20.0.57`, `${M8} 10.10.10.57`],
      },
      ['10.10.10.57'],
    ],
    ['masquerades what is known', 'OUT ACCEPT # NAT', { leases: [`${M7} 10.10.10.57`] }, ['10.10.10.57']],
  ])('%s', (_, rule, world, expected) => {
    expect(outcome(rule, world)).toEqual(expected)
  })

  test.each<[string, string, World, string]>([
    [
      'where it looked',
      SSH,
      {},
      'no address is known for net0 of guest 107 (db); looked in the settings, the cloud-init addresses of the VM and ipset ipfilter-net0',
    ],
    [
      'every source there was, for a container with two NICs',
      'OUT ACCEPT # NAT',
      {
        conf: { 107: `hostname: ct\nnet0: name=eth0,hwaddr=${M7},bridge=vmbr1\nnet1: name=eth1,bridge=web0` },
        ipam: {},
        macs: {},
        ethers: '',
        leases: [],
        neighbours: [],
      },
      'no address is known for any NIC of guest 107 (ct); looked in the settings, the network of the container, ipset ipfilter-netN, SDN IPAM, the MAC cache of SDN, the DHCP reservations of SDN, the leases of dnsmasq and the neighbour table',
    ],
    [
      'only what concerns the NIC that it names',
      'IN SSH(ACCEPT) -i net0 # NAT 822',
      { conf: { 107: twoNics, 108: '' }, leases: [`${M8} 10.20.0.57`] },
      'no address is known for net0 of guest 107 (107); looked in the settings, the cloud-init addresses of the VM, ipset ipfilter-net0 and the leases of dnsmasq',
    ],
    [
      'what it found and why it does not count',
      SSH,
      { leases: [`${M7} 10.10.10.8`, `${M8} 10.10.10.8`] },
      'no address is known for net0 of guest 107 (db); looked in the settings, the cloud-init addresses of the VM, ipset ipfilter-net0 and the leases of dnsmasq; 10.10.10.8 of the leases of dnsmasq does not count: guest 108 shows the same address',
    ],
  ])('says %s', (_, rule, world, message) => {
    expect(outcome(rule, world)).toEqual([message])
  })
})

describe('a typed destination', () => {
  const typed = 'IN SSH(ACCEPT) -dest 10.10.10.77 # NAT 822'
  test.each<[string, World]>([
    ['nothing is known of', {}],
    ['a neighbour entry knows under another address', { neighbours: [`10.10.10.78 ${M7} vmbr1`] }],
    ['has several addresses', { neighbours: [`10.10.10.77 ${M7} vmbr1`, `10.10.10.78 ${M7} vmbr1`] }],
  ])('is believed of a guest that %s', (_, world) => {
    expect(outcome(typed, world)).toEqual(['10.10.10.77'])
  })

  const foreign = /^10\.10\.10\.77 is not an address of guest 107/
  test.each<[string, World]>([
    ['the settings say otherwise', { settings: { 107: '10.10.10.7' } }],
    ['the ipfilter says otherwise', { fw: { 107: '[IPSET ipfilter-net0]\n10.10.10.7' } }],
    ['another guest leased it', { leases: [`${M8} 10.10.10.77`] }],
    [
      'it is one of several of another guest',
      { neighbours: [`10.10.10.77 ${M8} vmbr1`, `10.10.10.78 ${M8} vmbr1`] },
    ],
  ])('is refused when %s', (_, world) => {
    expect(outcome(typed, world)).toEqual([expect.stringMatching(foreign)])
  })
})
