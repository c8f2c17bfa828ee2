import { expect, test } from 'vitest'
import { sdnSets } from '../../src/guest/sdn.ts'

const running = JSON.stringify({
  version: 3,
  vnets: { ids: { vnet0: { type: 'vnet', zone: 'simple' } } },
  subnets: {
    ids: {
      'simple-10.20.30.0-24': {
        type: 'subnet',
        vnet: 'vnet0',
        gateway: '10.20.30.1',
        'dhcp-range': ['start-address=10.20.30.100,end-address=10.20.30.103'],
      },
      'simple-fd20::-64': { type: 'subnet', vnet: 'vnet0', gateway: 'fd20::1' },
      nonsense: { vnet: 'vnet0' },
    },
  },
})
const ipam = JSON.stringify({
  zones: {
    simple: {
      subnets: { '10.20.30.0/24': { ips: { '10.20.30.101': { vmid: '105', mac: 'BC:24:11:00:01:05' } } } },
    },
  },
})

test('the sets of each VNet, and of each guest in the IPAM', () => {
  const sets = [...sdnSets(running, ipam)].map(([name, { entries }]) => [
    name,
    entries.map(({ cidr, nomatch }) => (nomatch ? '!' : '') + cidr).join(' '),
  ])
  expect(Object.fromEntries(sets)).toEqual({
    'vnet0-all': '10.20.30.0/24 fd20::/64',
    'vnet0-gateway': '10.20.30.1 fd20::1',
    'vnet0-no-gateway': '10.20.30.0/24 !10.20.30.1 fd20::/64 !fd20::1',
    'vnet0-dhcp': '10.20.30.100/30',
    'guest-ipam-105': '10.20.30.101',
  })
})

test.each(['', '{', '[]', '{"subnets":{"ids":{"a-b-c":3}}}', 'null'])('%j gives no sets', (text) => {
  expect(sdnSets(text, text).size).toBe(0)
})
