// Own routing rules and routes: any difference is written, nothing but a difference, and what leads comes before what it replaces goes.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { network, parseIp, type Range } from '../../src/address.ts'
import type { Network } from '../../src/network.ts'
import type { Routing } from '../../src/ruleset/ruleset.ts'
import { planText, type Plan } from '../../src/ruleset/plan.ts'
import { parseRouting } from '../../src/ruleset/routing.ts'
import { routingByUplink, uplinkTroubles } from '../../src/ruleset/uplinks.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { plainNetwork } from '../network.ts'
import { FakeKernel } from './kernel.ts'

const mark = fc.constantFrom('0x1000000', '0x2000000', '0x3000000')
const rule = fc
  .tuple(fc.constantFrom(7690, 7700, 7701), mark, fc.constantFrom(254, 7701, 7702))
  .map(
    ([priority, value, table]) =>
      `priority ${priority} fwmark ${value}/0xf000000 table ${table} protocol 118`,
  )
const route = fc
  .tuple(fc.constantFrom('eth1', 'wg0'), fc.constantFrom(1024, 4278198272), fc.constantFrom(7701, 7702))
  .map(([dev, metric, table]) => `default dev ${dev} metric ${metric} table ${table} proto 118`)
const slot = (line: string): string => line.slice(line.indexOf(' metric '))
const routing: fc.Arbitrary<Routing> = fc.record({
  rules: fc.uniqueArray(rule, { maxLength: 6 }),
  routes: fc.uniqueArray(route, { maxLength: 4, selector: slot }),
})

function put(kernel: FakeKernel, wanted: Routing): Plan {
  const plan = planText(
    { chains: { 4: [], 6: [] }, sets: [], routing: { 4: wanted, 6: { rules: [], routes: [] } } },
    kernel.read(),
  )
  kernel.write(plan)
  return plan
}

test('from anything to anything, and then nothing is left to do', () => {
  fc.assert(
    fc.property(routing, routing, (before, after) => {
      const kernel = new FakeKernel()
      put(kernel, before)
      put(kernel, after)
      const read = kernel.read().routing[4]
      expect([...read.rules].sort()).toEqual([...after.rules].sort())
      expect([...read.routes].sort()).toEqual([...after.routes].sort())
      expect(put(kernel, after)).toMatchObject({ routing: { 4: { before: [], after: [] } }, changes: [] })
    }),
  )
})

test('a rule that is there twice goes once', () => {
  const kernel = new FakeKernel()
  const line = 'priority 7700 fwmark 0x1000000/0xf000000 table 7701 protocol 118'
  kernel.routing.set('4 rule', [line, line])
  const { after } = planText(
    {
      chains: { 4: [], 6: [] },
      sets: [],
      routing: { 4: { rules: [line], routes: [] }, 6: { rules: [], routes: [] } },
    },
    kernel.read(),
  ).routing[4]
  expect(after).toEqual([`rule delete ${line}`])
})

function uplink(name: string, index: number, address: string, gateway?: string) {
  const ip = parseIp(address) as Range
  const ways = { 4: gateway === undefined ? {} : { gateway } }
  return {
    name,
    addresses: [ip],
    families: [4 as const],
    networks: [network(4, ip.lo, 24)],
    uplink: { index, ways },
  }
}

const TWO = [uplink('vmbr0', 0, '203.0.113.2', '203.0.113.1'), uplink('wg0', 1, '203.0.115.2')]
const seen = (part: Partial<Network> = {}, quarantined = new Map<string, string>()) => ({
  network: { ...plainNetwork(TWO, []), ...part },
  settings: DEFAULT_SETTINGS,
  quarantined,
})
const NONE = { rules: [], tables: [] }

test('what the kernel shows of a ruleset is what was sent', () => {
  const { rules, routes } = routingByUplink(seen(), { 4: [], 6: undefined }).routing[4]
  const ruleOf = (line: string) => {
    const value = (word: string) => new RegExp(`${word} (\\S+)`).exec(line)?.[1]
    const [fwmark, fwmask] = (value('fwmark') ?? '').split('/')
    const suppressed = value('suppress_prefixlength')
    return {
      priority: Number(value('priority')),
      src: 'all',
      fwmark: fwmark as string,
      fwmask: fwmask as string,
      table: value('table') as string,
      protocol: '118',
      ...(suppressed === undefined ? {} : { suppress_prefixlen: Number(suppressed) }),
    }
  }
  const routeOf = (line: string) => {
    const value = (word: string) => new RegExp(`${word} (\\S+)`).exec(line)?.[1]
    const isUnreachable = line.startsWith('unreachable')
    const [gateway, dev] = [value('via'), value('dev')]
    return {
      dst: 'default',
      table: value('table') as string,
      metric: Number(value('metric')),
      flags: [],
      ...(isUnreachable ? { type: '7', dev: 'lo' } : {}),
      ...(gateway === undefined ? {} : { gateway }),
      ...(dev === undefined ? {} : { dev }),
    }
  }
  expect(parseRouting(rules.map(ruleOf), routes.map(routeOf))).toEqual({ rules, routes })
})

test('one uplink, or none of which anything is wanted, asks for nothing', () => {
  const nothing = {
    marks: { 4: [], 6: [] },
    rest: { 4: [], 6: [] },
    loose: [],
    routing: { 4: { rules: [], routes: [] }, 6: { rules: [], routes: [] } },
  }
  expect(
    routingByUplink({ ...seen(), network: plainNetwork(TWO.slice(0, 1), []) }, { 4: [], 6: undefined }),
  ).toEqual(nothing)
  expect(routingByUplink(seen(), { 4: undefined, 6: undefined })).toEqual(nothing)
  expect(routingByUplink(seen({}, new Map([['uplinks', 'no']])), { 4: [], 6: undefined })).toEqual(nothing)
})

test('one address is enough when the kernel answers by another interface', () => {
  const network = {
    ...plainNetwork(TWO.slice(1), []),
    way: { 4: { dev: 'tun0', ip: parseIp('10.8.0.2') as Range } },
  }
  expect(routingByUplink({ ...seen(), network }, { 4: [], 6: undefined }).marks[4]).toHaveLength(2)
})

test('our rules stand in front of rules that would take marked answers, and where they are set otherwise', () => {
  const first = (rules: { priority: number; takesAnswers: boolean }[]) =>
    routingByUplink(seen({ foreign: { 4: { rules, tables: [] }, 6: NONE } }), { 4: [], 6: undefined })
      .routing[4].rules[0]
  expect(first([{ priority: 9000, takesAnswers: true }])).toMatch(/^priority 7700 /)
  expect(first([{ priority: 5000, takesAnswers: false }])).toMatch(/^priority 7700 /)
  expect(first([{ priority: 7699, takesAnswers: true }])).toMatch(/^priority 7697 /)
  expect(
    first([
      { priority: 7701, takesAnswers: true },
      { priority: 300, takesAnswers: true },
    ]),
  ).toMatch(/^priority 298 /)
})

test.each([
  [
    'a mark of ours',
    {
      rules: [{ priority: 9, mark: { mark: 0x2000000, mask: 0xffffffff }, takesAnswers: false }],
      tables: [],
    },
  ],
  [
    'bits of our mask',
    { rules: [{ priority: 9, mark: { mark: 0, mask: 0x7000000 }, takesAnswers: false }], tables: [] },
  ],
  ['a table of ours', { rules: [], tables: ['7702'] }],
  ['no room in front', { rules: [{ priority: 2, takesAnswers: true }], tables: [] }],
])('%s that others use stops this feature alone, and is told', (_, foreign) => {
  const view = seen({ foreign: { 4: foreign, 6: NONE } })
  expect(routingByUplink(view, { 4: [], 6: undefined })).toMatchObject({
    marks: { 4: [] },
    routing: { 4: { rules: [], routes: [] } },
  })
  expect(uplinkTroubles(view)).toEqual([
    expect.stringMatching(/^IPv4 answers leave by the default route alone: /),
  ])
})

test('wg-quick’s mark, Tailscale’s and Proxmox VE’s bit 31 are no collision', () => {
  const marks = [
    { mark: 0xca6c, mask: 0xffffffff },
    { mark: 0x80000, mask: 0xff0000 },
    { mark: 0x80000000, mask: 0x80000000 },
    { mark: 0x4000, mask: 0x4000 },
  ]
  const rules = marks.map((mark, i) => ({ priority: 5000 + i, mark, takesAnswers: false }))
  expect(uplinkTroubles(seen({ foreign: { 4: { rules, tables: [] }, 6: NONE } }))).toEqual([])
})

test('a link that is down, a gateway that nobody knows and a refusal are told', () => {
  const [first, second] = TWO as [(typeof TWO)[0], (typeof TWO)[0]]
  const withWays = (ways: object) => seen({ external: [first, { ...second, uplink: { index: 1, ways } }] })
  expect(uplinkTroubles(withWays({ 4: { down: true } }))).toEqual([
    'Uplink wg0 is down; answers to its clients wait.',
  ])
  expect(uplinkTroubles(withWays({}))).toEqual([
    'No IPv4 gateway of wg0 is known, so answers to its clients leave by the default route.',
  ])
  expect(uplinkTroubles(seen({}, new Map([['uplinks', 'no']])))).toEqual([
    'Answers leave by the default route alone, for the kernel refuses: no.',
  ])
})
