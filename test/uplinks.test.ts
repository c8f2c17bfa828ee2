// Uplinks over time: gateways are learnt, kept while a link flaps, and given up only with a default route that is deleted; foreign rules.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { IpLink, IpRoute, IpRouting, IpRule } from '../src/ip.ts'
import { toNetwork, type Network } from '../src/network.ts'
import { DEFAULT_SETTINGS } from '../src/settings.ts'
import { foreignRouting, storedUplinks, type StoredUplink } from '../src/uplinks.ts'

const NOWHERE: IpRouting = { rules: [], defaults: [], routes: [], outside: undefined }
const UP = ['BROADCAST', 'UP', 'LOWER_UP']

function link(ifname: string, local: string, part: Partial<IpLink> = {}): IpLink {
  const addr_info = [{ family: 'inet', local, prefixlen: 24, scope: 'global' }]
  return { ifname, flags: UP, mtu: 1500, addr_info, ...part }
}

const route = (dev: string, gateway: string, part: Partial<IpRoute> = {}): IpRoute => ({
  dst: 'default',
  dev,
  gateway,
  flags: [],
  ...part,
})
const VMBR0 = link('vmbr0', '203.0.113.2')
const ETH1 = link('eth1', '192.0.2.2')
const FIRST = route('vmbr0', '203.0.113.1')
const SECOND = route('eth1', '192.0.2.1', { metric: 200 })
const OURS = route('eth1', '192.0.2.1', { table: '7702', protocol: '118', metric: 1024 })
const WG0 = link('wg0', '203.0.115.2', { flags: ['POINTOPOINT', 'NOARP', 'UP', 'LOWER_UP'] })

interface Seen {
  links: IpLink[]
  defaults: IpRoute[]
  stored?: StoredUplink[]
  now?: number
  names?: string[]
}

function see({ links, defaults, stored = [], now = 1000, names = [] }: Seen): Network {
  const settings = { ...DEFAULT_SETTINGS, external: { auto: true, names } }
  return toNetwork(links, { 4: { ...NOWHERE, defaults }, 6: NOWHERE }, settings, new Set(), stored, now)
}

const uplinks = ({ external }: Network) =>
  external.map(({ name, uplink }) => [name, uplink?.index, uplink?.ways[4]] as const)
const both = see({ links: [VMBR0, ETH1], defaults: [FIRST, SECOND] })
const stored = storedUplinks(both.external)

describe('gateways', () => {
  test('are those of default routes; of several of an interface, the first that the kernel would use', () => {
    expect(uplinks(both)).toEqual([
      ['vmbr0', 0, { gateway: '203.0.113.1' }],
      ['eth1', 1, { gateway: '192.0.2.1' }],
    ])
    const defaults = [
      FIRST,
      route('eth1', '192.0.2.7', { dst: '0.0.0.0/1' }),
      route('eth1', '192.0.2.9', { table: '100' }),
      route('eth1', '192.0.2.8', { metric: 300 }),
      route('eth1', '192.0.2.5', { metric: 100, flags: ['onlink'], metrics: [{ mtu: 1400 }] }),
    ]
    expect(uplinks(see({ links: [VMBR0, ETH1], defaults }))[1]).toEqual([
      'eth1',
      1,
      { gateway: '192.0.2.5', onlink: true, mtu: 1400 },
    ])
  })

  test('of a tunnel that the settings name, and of a route over several hops', () => {
    const named = see({ links: [VMBR0, WG0], defaults: [FIRST], names: ['wg0'] })
    expect(uplinks(named)[1]).toEqual(['wg0', 1, {}])
    const again = { links: [VMBR0, WG0], defaults: [FIRST, { ...OURS, dev: 'wg0' }], names: ['wg0'] }
    expect(uplinks(see({ ...again, stored: storedUplinks(named.external) }))[1]).toEqual(['wg0', 1, {}])
    const hops = { dst: 'default', nexthops: [FIRST, SECOND] }
    expect(uplinks(see({ links: [VMBR0, ETH1], defaults: [hops as IpRoute] }))).toEqual(uplinks(both))
  })
})

describe('a link', () => {
  const down = { ...ETH1, flags: ['BROADCAST'] }

  test('that goes down keeps its addresses and its number, also those that the kernel took', () => {
    const one = see({ links: [VMBR0, down], defaults: [FIRST], stored })
    expect(uplinks(one)[1]).toEqual(['eth1', 1, { gateway: '192.0.2.1', down: true }])
    const bare = see({ links: [VMBR0, { ...down, addr_info: [] }], defaults: [FIRST], stored })
    expect(bare.external[1]?.addresses).toEqual(both.external[1]?.addresses)
    expect(bare.external[1]?.networks).toEqual(both.external[1]?.networks)
  })

  test('that comes up without its default route keeps the gateway until it has one again', () => {
    const whileDown = storedUplinks(see({ links: [VMBR0, down], defaults: [FIRST], stored }).external)
    const up = see({ links: [VMBR0, ETH1], defaults: [FIRST], stored: whileDown })
    expect(uplinks(up)[1]).toEqual(['eth1', 1, { gateway: '192.0.2.1', kept: true }])
    const later = { links: [VMBR0, ETH1], defaults: [FIRST, OURS], stored: storedUplinks(up.external) }
    expect(uplinks(see(later))[1]).toEqual(['eth1', 1, { gateway: '192.0.2.1', kept: true }])
    const changed = [FIRST, route('eth1', '192.0.2.9')]
    expect(uplinks(see({ ...later, defaults: changed }))[1]).toEqual(['eth1', 1, { gateway: '192.0.2.9' }])
  })

  test('that flapped unseen is told by our route, which went with it', () => {
    expect(uplinks(see({ links: [VMBR0, ETH1], defaults: [FIRST], stored }))).toHaveLength(2)
  })

  test('whose default route somebody deleted is given up by the second look that misses it', () => {
    const missing = { links: [VMBR0, ETH1], defaults: [FIRST, OURS] }
    const once = see({ ...missing, stored })
    expect(uplinks(once)[1]).toEqual(['eth1', 1, { gateway: '192.0.2.1', isMissing: true }])
    expect(uplinks(see({ ...missing, stored: storedUplinks(once.external) }))).toHaveLength(1)
    // It went with the link: the routes had been read before.
    const down = { links: [VMBR0, { ...ETH1, flags: ['BROADCAST'] }], defaults: [FIRST] }
    const whileDown = see({ ...down, stored: storedUplinks(once.external) })
    expect(uplinks(whileDown)[1]).toEqual(['eth1', 1, { gateway: '192.0.2.1', down: true }])
  })

  test('that is gone gives its address to the link that has it now (PPP by another name)', () => {
    const again = { ...ETH1, ifname: 'eth2' }
    const moved = see({ links: [VMBR0, again], defaults: [FIRST, { ...SECOND, dev: 'eth2' }], stored })
    expect(moved.external.map(({ name, addresses }) => [name, addresses.length])).toEqual([
      ['vmbr0', 1],
      ['eth2', 1],
      ['eth1', 0],
    ])
  })

  test('that is gone is waited for ten minutes', () => {
    const gone = see({ links: [VMBR0], defaults: [FIRST], stored, now: 1000 })
    expect(uplinks(gone)[1]).toEqual(['eth1', 1, { gateway: '192.0.2.1', down: true }])
    const next = (now: number) =>
      see({ links: [VMBR0], defaults: [FIRST], stored: storedUplinks(gone.external), now })
    expect(uplinks(next(1599))).toHaveLength(2)
    expect(uplinks(next(1600))).toHaveLength(1)
    const remade = see({
      links: [VMBR0, ETH1],
      defaults: [FIRST, SECOND],
      stored: storedUplinks(gone.external),
    })
    expect(uplinks(remade)).toEqual(uplinks(both))
  })

  test('that the settings leave out is no uplink, whatever was remembered', () => {
    const settings = { ...DEFAULT_SETTINGS, external: { auto: false, names: ['vmbr0'] } }
    const routing = { 4: { ...NOWHERE, defaults: [FIRST, SECOND] }, 6: NOWHERE }
    expect(toNetwork([VMBR0, ETH1], routing, settings, new Set(), stored, 0).external).toHaveLength(1)
  })
})

test('addresses that are lost stay with their uplink for half an hour, unless the node has them again', () => {
  const moved = { ...ETH1, addr_info: link('eth1', '192.0.2.9').addr_info ?? [] }
  const former = ({ external }: Network) => external.map(({ uplink }) => uplink?.former)
  const next = (eth1: IpLink, before: StoredUplink[], now: number) =>
    see({ links: [VMBR0, eth1], defaults: [FIRST, SECOND, OURS], stored: before, now })
  const lost = next(moved, stored, 2000)
  expect(former(lost)).toEqual([undefined, [{ address: '192.0.2.2', goneAt: 2000 }]])
  const kept = storedUplinks(lost.external)
  expect(former(next(moved, kept, 3799))).toEqual(former(lost))
  expect(former(next(moved, kept, 3800))).toEqual([undefined, undefined])
  expect(former(next(ETH1, kept, 2100))).toEqual([undefined, [{ address: '192.0.2.9', goneAt: 2100 }]])
})

test('one uplink is not remembered', () => {
  expect(storedUplinks(see({ links: [VMBR0], defaults: [FIRST] }).external)).toEqual([])
})

test('numbers stay and are never given twice, whatever comes and goes', () => {
  const names = ['a0', 'b0', 'c0', 'd0', 'e0']
  const looks = fc.array(fc.subarray(names), { maxLength: 12 })
  fc.assert(
    fc.property(looks, (rounds) => {
      let before: StoredUplink[] = []
      for (const round of rounds) {
        const links = round.map((name) => link(name, `10.9.${names.indexOf(name)}.2`))
        const defaults = round.map((name) => route(name, `10.9.${names.indexOf(name)}.1`))
        const { external } = see({ links, defaults, stored: before })
        const indexes = external.map(({ uplink }) => uplink?.index)
        expect(new Set(indexes).size).toBe(indexes.length)
        for (const { name, index } of before) {
          const now = external.find((one) => one.name === name)
          if (now) expect(now.uplink?.index).toBe(index)
        }
        before = storedUplinks(external)
      }
    }),
  )
})

describe('rules of others', () => {
  const table = (name: string): IpRoute => route('wg0', '', { table: name })
  const taking = (rule: IpRule, defaults: IpRoute[] = [FIRST, table('51820')]) =>
    foreignRouting({ ...NOWHERE, rules: [{ priority: 5000, src: 'all', ...rule }], defaults }, [
      ...both.own.map(({ ip }) => ip),
    ]).rules.map(({ takesAnswers }) => takesAnswers)

  test.each<[string, IpRule, boolean]>([
    ['wg-quick, all but its own packets', { not: null, fwmark: '0xca6c', table: '51820' }, true],
    ['wg-quick, main without default routes', { table: 'main', suppress_prefixlen: 0 }, false],
    ['from guests', { src: '10.10.10.0', srclen: 24, table: '51820' }, true],
    ['from an address of the node', { src: '192.0.2.2', table: '51820' }, false],
    ['to a network', { dst: '10.8.0.0', table: '51820' }, false],
    ['a table without a default route (Tailscale)', { table: '52' }, false],
    ['packets of a mark (Tailscale)', { fwmark: '0x80000', fwmask: '0xff0000' }, false],
    ['packets of the node', { iif: 'lo', table: '51820' }, false],
    ['everything to nowhere', {}, true],
    ['everything to main', { table: 'main' }, true],
  ])('%s', (_, rule, expected) => {
    expect(taking(rule)).toEqual([expected])
  })

  test('OpenVPN’s halves in main are taken past rules that leave out default routes only', () => {
    const halves = [FIRST, route('tun0', '10.8.0.1', { dst: '0.0.0.0/1' })]
    expect(taking({ table: 'main', suppress_prefixlen: 0 }, halves)).toEqual([true])
    expect(taking({ table: 'main', suppress_prefixlen: 1 }, halves)).toEqual([false])
  })

  test('own rules and the three of every kernel are none', () => {
    const rules = [
      { priority: 0, src: 'all', table: 'local' },
      { priority: 7700, src: 'all', table: 'main', protocol: '118' },
      { priority: 32766, src: 'all', table: 'main' },
    ]
    expect(foreignRouting({ ...NOWHERE, rules, defaults: [OURS] }, [])).toEqual({ rules: [], tables: [] })
  })
})
