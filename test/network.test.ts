// The node's networks: the node is taken to have only addresses that the kernel tells.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { contains, formatRange, network as networkOf, parseIp, type Range } from '../src/address.ts'
import type { IpLink } from '../src/ip.ts'
import { toNetwork } from '../src/network.ts'
import { DEFAULT_SETTINGS } from '../src/settings.ts'

const NOWHERE = { rules: [], defaults: [], routes: [], outside: undefined }

const octet = fc.integer({ min: 0, max: 3 })
const ip = fc.tuple(octet, octet).map(([a, b]) => `10.0.${a}.${b + 1}`)
const link = fc.tuple(fc.nat(9), ip).map(([n, local]): IpLink => ({
  ifname: `vmbr${n}`,
  linkinfo: { info_kind: 'bridge' },
  addr_info: [{ family: 'inet', local, prefixlen: 24, scope: 'global' }],
}))
const range = fc
  .tuple(ip, fc.integer({ min: 16, max: 30 }))
  .map(([text, length]) => networkOf(4, (parseIp(text) as Range).lo, length))

test('no address of the node is made up for a network that the settings name', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(link, { maxLength: 4, selector: ({ ifname }) => ifname }),
      fc.array(range, { minLength: 1, maxLength: 3 }),
      (links, internal) => {
        const settings = { ...DEFAULT_SETTINGS, internal: { auto: false, networks: internal } }
        const found = toNetwork(links, { 4: NOWHERE, 6: NOWHERE }, settings, new Set())
        const had = links.flatMap(({ addr_info: all }) => all?.map(({ local }) => local) ?? [])
        expect(found.own.map((one) => formatRange(one.ip)).sort()).toEqual([...had].sort())
        expect(found.internal.map((one) => one.network)).toEqual(internal)
        for (const { bridge, network, address } of found.internal) {
          const isThere = had.some((text) => text && contains(network, parseIp(text) as Range))
          expect([bridge !== '', address !== undefined]).toEqual([isThere, isThere])
          if (address) expect(had).toContain(formatRange(address))
        }
      },
    ),
  )
})

test('a bridge is enclosed while all of its ports are of guests', () => {
  const enclosed = (...ports: string[]): string[] => {
    const vmbr1 = { ifname: 'vmbr1', linkinfo: { info_kind: 'bridge' } }
    const links = [vmbr1, ...ports.map((ifname) => ({ ifname, master: 'vmbr1' }))]
    const found = toNetwork(links, { 4: NOWHERE, 6: NOWHERE }, DEFAULT_SETTINGS, new Set())
    return [...(found.enclosed ?? [])]
  }
  expect(enclosed()).toEqual(['vmbr1'])
  expect(enclosed('tap107i0', 'veth105i1', 'fwpr108p0')).toEqual(['vmbr1'])
  for (const port of ['eno1', 'bond0', 'vxlan_web0', 'eno1.5', 'tap0', 'wg0'])
    expect(enclosed('tap107i0', port)).toEqual([])
})

test('a route to one address leads inward, one to the node itself does not', () => {
  const vmbr1 = { ifname: 'vmbr1', linkinfo: { info_kind: 'bridge' } }
  const routes = [
    { dst: '203.0.113.55', dev: 'vmbr1' },
    { dst: '203.0.113.2', dev: 'vmbr1', type: 'local' },
    { dst: '203.0.113.9', type: 'blackhole' },
  ]
  const v4 = { ...NOWHERE, routes }
  const { inward, outward } = toNetwork([vmbr1], { 4: v4, 6: NOWHERE }, DEFAULT_SETTINGS, new Set())
  expect(outward).toEqual([])
  expect(inward.map(({ to, dev }) => `${formatRange(to)} ${dev}`)).toEqual([
    '203.0.113.55 vmbr1',
    '203.0.113.9 ',
  ])
})

test('a route of its own by an external interface leads outward, a half of the internet does not', () => {
  const uplink = { ifname: 'vmbr0', linkinfo: { info_kind: 'bridge' } }
  const defaults = [{ dst: 'default', gateway: '203.0.113.1', dev: 'vmbr0' }]
  const routes = ['10.20.0.0/24', '0.0.0.0/1', 'default'].map((dst) => ({ dst, dev: 'vmbr0' }))
  const v4 = { ...NOWHERE, defaults, routes }
  const { outward = [] } = toNetwork([uplink], { 4: v4, 6: NOWHERE }, DEFAULT_SETTINGS, new Set())
  expect(outward.map(formatRange)).toEqual(['10.20.0.0/24'])
})
