// Which flows are stale, and the fewest deletions that end those and no other.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { contains, formatIp, overlap, parseCidr, parseIp, type Range } from '../../src/address.ts'
import {
  deletions,
  endpointLines,
  parseFlows,
  readEndpoints,
  staleness,
  type Flow,
  type FlowFilter,
  type Ways,
} from '../../src/nat/flows.ts'
import { ANY, matchOf } from '../../src/nat/match.ts'
import type { Dispatch, Forward } from '../../src/nat/nat-rule.ts'

const ip = (text: string): Range => parseIp(text) as Range
const net = (text: string): Range => parseCidr(text) as Range
const SELF = '203.0.113.2'
const isSelf = (address: Range): boolean => contains(net(SELF), address)

const forward = (part: Partial<Forward>): Forward =>
  ({
    family: 4,
    proto: 'udp',
    external: [ip(SELF)],
    inner: ip('10.10.10.105'),
    single: false,
    source: ANY,
    hairpin: true,
    full: false,
    except: [],
    ...part,
  }) as Forward

const ways = (special: Forward[], more: Partial<Ways> = {}): Ways => {
  const at: Dispatch = { common: [], addresses: [{ address: ip(SELF), special, common: true }] }
  const none: Dispatch = { common: [], addresses: [] }
  const rest = { inside: [net('10.10.10.0/24')], noHairpin: false, loop: [net('169.254.77.128/25')] }
  return { dispatch: { 4: at, 6: none }, ...rest, ...more }
}

const line = (client: string, port: number, answer: string, answerPort: number, end = ''): string =>
  `udp      17 29 src=${client} dst=${SELF} sport=4000 dport=${port} src=${answer} dst=${client} sport=${answerPort} dport=4000 [ASSURED] mark=0${end} use=1`

function staleOf(lines: string[], { dispatch, ...rest }: Ways, before: string[] = []): string[] {
  const endpoints = readEndpoints([...before, ...endpointLines(dispatch)])
  const isStale = staleness({ dispatch, ...rest }, endpoints)
  return lines.filter((one) => parseFlows([one], isSelf).some(isStale))
}

const shifted = forward({ ports: [5000, 5009], innerPort: 6000 })
const full = forward({ proto: 'all', full: true, inner: ip('10.10.10.107') })

test('a flow that leads to the target stays, one that leads elsewhere goes', () => {
  const right = line('192.0.2.9', 5003, '10.10.10.105', 6003)
  const others = [line('192.0.2.9', 5003, SELF, 5003), line('192.0.2.9', 5003, '10.10.10.108', 6003)]
  expect(staleOf([right, ...others], ways([shifted]))).toEqual(others)
  const tcp = forward({ proto: 'tcp', ports: [1, 65_535], inner: ip('10.10.10.108') })
  const low = line('192.0.2.9', 53, '10.10.10.105', 53)
  expect(staleOf([low], ways([tcp, forward({ ports: [53, 53], innerPort: 53 })]))).toEqual([])
  // To a port that is nobody's any more, and to one that never was ours.
  const gone = line('192.0.2.9', 7000, '10.10.10.105', 7000)
  const foreign = line('192.0.2.9', 7001, '10.10.10.105', 7001)
  expect(staleOf([gone, foreign], ways([shifted]), [`4 udp ${SELF} 7000-7000`])).toEqual([gone])
})

test('a flow in another zone is nobody’s: on a firewall bridge nothing is translated', () => {
  const twin = line('10.10.10.107', 5003, SELF, 5003, ' zone=1')
  expect(staleOf([twin, line('10.10.10.107', 5003, SELF, 5003, ' zone-orig=2')], ways([shifted]))).toEqual([])
})

test.each([
  ['before', [full, shifted]],
  ['behind', [shifted, full]],
])('full=1 that stands %s other forwards of its address does not make their flows stale', (_, special) => {
  const right = [line('192.0.2.9', 5003, '10.10.10.105', 6003), line('192.0.2.9', 80, '10.10.10.107', 80)]
  const untranslated = line('192.0.2.9', 80, SELF, 80)
  expect(staleOf([...right, untranslated], ways(special))).toEqual([untranslated])
})

test('a port that full=1 leaves to the node is rightly untranslated', () => {
  const except: Forward['except'] = [{ proto: 'udp', ports: [80, 80], source: ANY }]
  const [own, taken] = [line('192.0.2.9', 80, SELF, 80), line('192.0.2.9', 80, '10.10.10.107', 80)]
  expect(staleOf([own, taken], ways([{ ...full, except }]))).toEqual([taken])
})

test('flows of protocols without ports are judged by addresses alone', () => {
  const esp = (answer: string) =>
    `unknown  50 599 src=192.0.2.9 dst=${SELF} src=${answer} dst=192.0.2.9 [ASSURED] mark=0 use=1`
  const gre = (answer: string) =>
    `gre      47 29 src=192.0.2.9 dst=${SELF} srckey=0x0 dstkey=0x0 [UNREPLIED] src=${answer} dst=192.0.2.9 srckey=0x0 dstkey=0x0 mark=0 use=1`
  const lines = [esp('10.10.10.107'), esp(SELF), gre('10.10.10.107'), gre(SELF)] as const
  const [atRouter, atNode, greAtRouter, greAtNode] = lines
  expect(staleOf([...lines], ways([full]))).toEqual([atNode, greAtNode])
  // A tunnel of the node.
  const except: Forward['except'] = [{ proto: 'esp', source: ANY }]
  expect(staleOf([...lines], ways([{ ...full, except }]))).toEqual([atRouter, greAtNode])
  const moved = forward({ proto: 'gre', inner: ip('10.10.10.108') })
  expect(staleOf([...lines], ways([moved]))).toEqual([greAtRouter, greAtNode])
  expect(staleOf([...lines], ways([]), [`4 gre ${SELF} 0-0`])).toEqual([greAtRouter])
})

test('a forward without hairpin is not reached from inside: such a flow is rightly untranslated', () => {
  const inside = [line('10.10.10.107', 5003, SELF, 5003), line(SELF, 5003, SELF, 5003)]
  const outside = line('192.0.2.9', 5003, SELF, 5003)
  expect(staleOf([...inside, outside], ways([{ ...shifted, hairpin: false }]))).toEqual([outside])
  expect(staleOf([...inside, outside], ways([shifted], { noHairpin: true }))).toEqual([outside])
  expect(staleOf([...inside, outside], ways([shifted]))).toEqual([...inside, outside])
})

test('clients and source ports that a forward is not for are not translated by it', () => {
  const some = forward({ ports: [53, 53], innerPort: 53, source: matchOf([net('192.0.2.0/25')], 'list') })
  const [theirs, others] = [line('192.0.2.9', 53, '10.10.10.105', 53), line('192.0.2.200', 53, SELF, 53)]
  expect(staleOf([theirs, others], ways([some]))).toEqual([])
  expect(staleOf([line('192.0.2.200', 53, '10.10.10.105', 53)], ways([some]))).toHaveLength(1)
  expect(staleOf([line('192.0.2.9', 53, SELF, 53)], ways([{ ...some, sport: [53, 53] }]))).toEqual([])
})

test('single addresses inside a mapped network are judged by their own forwards, all others by the network', () => {
  const outer = net('203.0.113.2/31')
  const map = forward({ proto: 'all', full: true, external: [outer], inner: net('10.10.10.2/31') })
  const tcp = forward({ proto: 'tcp', ports: [5000, 5009], inner: ip('10.10.10.108') })
  const common = [forward({ ports: [53, 53], innerPort: 53, inner: ip('10.10.10.109') })]
  const at = (address: Range, special: Forward[], isCommon: boolean) => ({
    address,
    special,
    common: isCommon,
  })
  const addresses = [
    at(outer, [{ ...map, except: [{ proto: 'all', source: ANY, at: ip(SELF) }] }], false),
    at(ip(SELF), [full, tcp, shifted], true),
  ]
  const all = ways([], { dispatch: { 4: { common, addresses }, 6: { common: [], addresses: [] } } })
  const right = [
    line('192.0.2.9', 5003, '10.10.10.105', 6003),
    line('192.0.2.9', 53, '10.10.10.109', 53),
    line('192.0.2.9', 80, '10.10.10.107', 80),
  ]
  const stale = line('192.0.2.9', 80, '10.10.10.2', 80)
  expect(staleOf([...right, stale], all)).toEqual([stale])
  const isStale = staleness(all, readEndpoints(endpointLines(all.dispatch)))
  const other = (answer: string) =>
    parseFlows([line('192.0.2.9', 80, answer, 80).replace(SELF, '203.0.113.3')], () => true).some(isStale)
  expect([other('10.10.10.3'), other('203.0.113.3'), other('10.10.10.2')]).toEqual([false, true, true])
  map.except = [{ proto: 'udp', ports: [80, 80], source: ANY, at: ip('203.0.113.3') }]
  addresses[0] = at(outer, [map], false)
  expect([other('10.10.10.3'), other('203.0.113.3')]).toEqual([true, false])
})

function ends(filter: FlowFilter, flow: Flow): boolean {
  const { proto, destination, replySource, dport, replySport, source, sport } = filter
  return (
    proto === flow.proto &&
    overlap(destination, flow.destination) &&
    overlap(replySource, flow.replySource) &&
    (dport === undefined || dport === flow.dport) &&
    (replySport === undefined || replySport === flow.replySport) &&
    (source === undefined || contains(source, flow.source)) &&
    (sport === undefined || sport === flow.sport)
  )
}

const flow = (): fc.Arbitrary<Flow> =>
  fc.record({
    proto: fc.constant('udp'),
    source: fc.integer({ min: 0, max: 40 }).map((n) => ip(`198.51.100.${n}`)),
    sport: fc.integer({ min: 1, max: 3 }),
    destination: fc.constantFrom(ip(SELF), ip('203.0.113.3')),
    dport: fc.constantFrom(53, 80),
    replySource: fc.constantFrom(ip('10.10.10.105'), ip('10.10.10.107')),
    replySport: fc.constantFrom(53, 80),
  })
const tuple = ({ source, sport, destination, dport }: Flow): string =>
  [source.lo, sport, destination.lo, dport].join()

test('deletions end every stale flow and no right one, each flow once', () => {
  const flows = fc.uniqueArray(fc.tuple(flow(), fc.boolean()), {
    selector: ([one]) => tuple(one),
    maxLength: 200,
  })
  fc.assert(
    fc.property(flows, (all) => {
      const [stale, right] = [true, false].map((is) => all.filter((one) => one[1] === is).map(([one]) => one))
      const filters = deletions(stale ?? [], right ?? [])
      for (const one of stale ?? []) expect(filters.filter((filter) => ends(filter, one))).toHaveLength(1)
      for (const one of right ?? []) expect(filters.filter((filter) => ends(filter, one))).toEqual([])
      expect(filters.length).toBeLessThanOrEqual(stale?.length ?? 0)
    }),
  )
})

const many = (count: number, replySport: number, first: bigint): Flow[] =>
  Array.from({ length: count }, (_, i) => ({
    proto: 'udp',
    source: ip(formatIp(4, first + BigInt(i))),
    sport: 4000,
    destination: ip(SELF),
    dport: 53,
    replySource: ip('10.10.10.105'),
    replySport,
  }))

test('20,000 flows to a former target end by one deletion, those of a network that is shut out by a few', () => {
  const clients = ip('198.18.0.0').lo
  const stale = many(20_000, 53, clients)
  expect(deletions(stale, [])).toHaveLength(1)
  expect(deletions(stale, many(500, 54, clients))).toHaveLength(1)
  const kept = many(4096, 53, clients + 8192n)
  const shut = [...stale.slice(0, 8192), ...stale.slice(8192 + 4096)]
  expect(deletions(shut, kept).length).toBeLessThan(20)
})

test.each([
  ['one port', () => 53],
  ['ports of their own', (i: number) => 1 + (i % 60_000)],
])('to judge twice as many flows to %s takes less than three times as long', (_, portOf) => {
  const forwards = Array.from({ length: 4000 }, (__, i) =>
    forward({ ports: [2 * i + 1, 2 * i + 1], innerPort: 1 }),
  )
  const took = (count: number): number => {
    const lines = Array.from({ length: count }, (__, i) =>
      line(`198.18.${(i >> 8) & 255}.${i & 255}`, portOf(i), SELF, portOf(i)),
    )
    const start = process.cpuUsage()
    const state = ways(forwards)
    const isStale = staleness(state, readEndpoints(endpointLines(state.dispatch)))
    const found = parseFlows(lines, isSelf)
    deletions(
      found.filter(isStale),
      found.filter((one) => !isStale(one)),
    )
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1000
  }
  took(5000)
  const [once, twice] = [10_000, 20_000].map((n) => Math.min(took(n), took(n), took(n))) as [number, number]
  expect(twice).toBeLessThan(3 * once)
  expect(twice).toBeLessThan(2000)
})
