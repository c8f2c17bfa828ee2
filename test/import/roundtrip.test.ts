// Nothing is lost on the way: what is imported compiles to what was there, for the forwards and the way out of every case.
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import {
  contains,
  FAMILIES,
  formatRange,
  parseIp,
  sameRange,
  type Family,
  type Range,
} from '../../src/address.ts'
import { NO_NFTABLES } from '../../src/facts/nftables.ts'
import { createCommand, ruleLine, type GuiRule } from '../../src/import/guirule.ts'
import { importAll, rulesOf, type Imported } from '../../src/import/trial.ts'
import { readWritten } from '../../src/import/written.ts'
import type { Egress, Forward } from '../../src/nat/nat-rule.ts'
import { mapsNetwork } from '../../src/nat/pieces.ts'
import type { View } from '../../src/nat/view.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import { formatPorts, mergePorts, type PortRange } from '../../src/ports.ts'
import type { Look } from '../../src/read.ts'
import { inOrder } from '../../src/ruleset/source-translation.ts'
import { renderPvesh } from '../../src/show/import.ts'
import { caseOf, loadCases } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { EMPTY, saved } from './saved.ts'

describe('what is imported compiles to what was there', () => {
  const seen = { forwards: 0, packets: 0 }
  afterAll(() => {
    expect(seen.forwards).toBeGreaterThan(200)
    expect(seen.packets).toBeGreaterThan(300)
  })

  test.each(loadCases().map((one) => [one.name, one] as const))('%s', async (_, one) => {
    const { look } = await worldOf(one)
    const before = compile({ ...look, nodePorts: [] })
    const lines = { 4: writtenByHand(before, 4), 6: writtenByHand(before, 6) }
    const after = compile(withOnly(look, createdRules(importTables(look, lines))))
    expect(forwardsOf(after)).toEqual(forwardsOf(before))
    const packets = FAMILIES.flatMap((family) => packetsFor([before, after], family))
    expect(ways(after, packets)).toEqual(ways(before, packets))
    seen.forwards += forwardsOf(before).length
    seen.packets += packets.length
  })
})

const ways = ({ view, translation }: Outcome, packets: readonly Packet[]): string[] =>
  packets.map((packet) => wayOut(packet, egressesOf(translation, packet.family), view))

test('whatever the order of the rules, packets leave as they did', async () => {
  const one = {
    ...caseOf(new Map()),
    network: 'external vmbr0 203.0.113.2/24 203.0.113.3/24\ninternal vmbr1 10.10.10.1/24\n',
  }
  const { look } = await worldOf(one)
  const rule = fc
    .record({
      from: fc.constantFrom('10.10.10.0/24', '10.10.10.105/32', '10.10.10.107/32'),
      dest: fc.constantFrom('', ' -d 198.51.100.0/24'),
      proto: fc.constantFrom('', ' -p tcp', ' -p tcp -m tcp --dport 25'),
      target: fc.constantFrom('MASQUERADE', 'SNAT --to-source 203.0.113.3', 'ACCEPT'),
    })
    .map(({ from, dest, proto, target }) => `-A POSTROUTING -s ${from}${dest}${proto} -j ${target}`)
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 4 }), (lines) => {
      const found = importTables(look, { 4: lines, 6: [] })
      // The rules that stay are not taken out, and an ACCEPT that stays exempts nothing.
      const kept = found.filter(({ becomes }) => !('stays' in becomes)).map(({ written }) => written)
      const after = compile(withOnly(look, createdRules(found)))
      const packets = ['10.10.10.105', '10.10.10.107', '10.10.10.9'].flatMap((source) =>
        ['198.51.100.7', '192.0.2.7'].flatMap((destination) =>
          [['tcp', 25] as const, ['tcp', 9] as const, ['udp', 9] as const].map(([proto, port]) => ({
            family: 4 as const,
            source: parseIp(source) as Range,
            destination: parseIp(destination) as Range,
            proto,
            port,
            out: 'vmbr0',
          })),
        ),
      )
      const byHand = packets.map((packet) => {
        const met = kept.find(({ source, destination, proto, ports }) =>
          [
            source && contains(source, packet.source),
            !destination || contains(destination, packet.destination),
            proto === undefined || proto === packet.proto,
            !ports || ports.some(([lo]) => lo === packet.port),
          ].every(Boolean),
        )
        return met?.target === 'SNAT' ? '203.0.113.3' : met?.target === 'MASQUERADE' ? 'masquerade' : 'stays'
      })
      expect(ways(after, packets).map((text) => text.split(': ')[1])).toEqual(byHand)
    }),
    { numRuns: 200 },
  )
})

function importTables(look: Look, lines: Record<Family, string[]>): Imported[] {
  const tables = { legacy: EMPTY, nft: { 4: saved(lines[4]), 6: saved(lines[6]) } }
  return importAll(withOnly(look, []), readWritten({ tables, nftables: NO_NFTABLES, bootLines: [] }))
}

/** As they then stand in their files: each that is created comes on top. */
function createdRules(found: readonly Imported[]): GuiRule[] {
  const created = renderPvesh(found).trim().split('\n')
  const onTop = (rule: GuiRule): number => -created.indexOf(createCommand(rule))
  return rulesOf(found).sort((a, b) => onTop(a) - onTop(b))
}

/** As somebody would have written the forwards and the egresses of a case into the nat table; what no iptables line says is left out. */
function writtenByHand(outcome: Outcome, family: Family): string[] {
  const forwards = plainForwards(outcome).filter(({ one }) => one.family === family)
  return [
    ...forwards.flatMap(forwardLines),
    ...egressesOf(outcome.translation, family).flatMap((egress) => egressLines(egress, outcome.view)),
  ]
}

function forwardLines({ one, at }: { one: Forward; at: Range }): string[] {
  const [lo = 0, hi = 0] = one.ports ?? []
  const ip = formatRange(one.inner)
  const inner = one.innerPort ?? 0
  const shift = one.single || hi === lo ? `${inner}` : `${inner}-${inner + hi - lo}/${lo}`
  const to = one.ports ? `${one.family === 6 ? `[${ip}]` : ip}:${shift}` : ip
  return rangesOf(one.source.ranges).map((source) =>
    line('PREROUTING', [
      source ? `-s ${formatRange(source)}` : '',
      `-d ${formatRange(at)}`,
      protoWords(one.full ? undefined : one.proto, one.ports),
      mapsNetwork(one) ? `-j NETMAP --to ${ip}` : `-j DNAT --to-destination ${to}`,
    ]),
  )
}

function egressLines(egress: Egress, view: View): string[] {
  const { exempt, to, out, source, destination, proto, ports, rule } = egress
  const network = rule.forwards.find(mapsNetwork)?.inner
  const translated = network ? 'NETMAP --to' : 'SNAT --to-source'
  const target = exempt ? 'ACCEPT' : to ? `${translated} ${formatRange(to)}` : 'MASQUERADE'
  const isEverywhere = exempt || out.length === view.network.external.length
  return rangesOf(network ? [network] : source.ranges).flatMap((from) =>
    rangesOf(destination.ranges).flatMap((dest) =>
      (isEverywhere ? [undefined] : out).map((name) =>
        line('POSTROUTING', [
          from ? `-s ${formatRange(from)}` : '',
          dest ? `-d ${formatRange(dest)}` : '',
          name === undefined ? '' : `-o ${name}`,
          protoWords(proto, ports),
          `-j ${target}`,
        ]),
      ),
    ),
  )
}

function line(chain: string, words: readonly string[]): string {
  return [`-A ${chain}`, ...words.filter((word) => word !== '')].join(' ')
}

function protoWords(proto: string | undefined, ports: PortRange | undefined): string {
  if (proto === undefined) return ''
  return ports ? `-p ${proto} -m ${proto} --dport ${formatPorts([ports]).replace('-', ':')}` : `-p ${proto}`
}

function rangesOf(ranges: Range[] | 'any'): (Range | undefined)[] {
  return ranges === 'any' ? [undefined] : ranges
}

/** The forwards that an iptables line can ask for, each at each of its addresses, and full=1 last. */
function plainForwards({ translation, view }: Outcome): { one: Forward; at: Range }[] {
  const all = FAMILIES.flatMap((family) => {
    const { common, addresses } = translation.dispatch[family]
    return addresses.flatMap(({ address, special, common: isCommon }) =>
      [...special, ...(isCommon ? common : [])]
        .filter((one) => !one.snat && one.sport === undefined && (!one.full || isFree(address, view)))
        .map((one) => ({ one, at: address })),
    )
  })
  return [...all.filter(({ one }) => !one.full), ...all.filter(({ one }) => one.full)]
}

/** Whether all that arrives there may be a guest's: not at the first address of the node. */
function isFree(address: Range, { network }: View): boolean {
  const all = network.external
    .flatMap(({ addresses }) => addresses)
    .filter((one) => one.family === address.family)
  return all.length > 1 && !sameRange(address, all[0] as Range)
}

/** By address, protocol, source and where they lead, the ports: `203.0.113.2 tcp 198.51.100.7 -> 10.10.10.105 -800: 822`. */
function forwardsOf(outcome: Outcome): string[] {
  const ports = new Map<string, PortRange[]>()
  for (const { one, at } of plainForwards(outcome))
    for (const source of rangesOf(one.source.ranges)) {
      const range = one.ports ?? [0, 0]
      const to = one.single ? `:${one.innerPort}` : (one.innerPort ?? 0) - range[0]
      const from = source ? formatRange(source) : 'any'
      const key = `${formatRange(at)} ${one.proto} ${from} -> ${formatRange(one.inner)} ${to}`
      ports.set(key, [...(ports.get(key) ?? []), range])
    }
  return [...ports].map(([key, all]) => `${key}: ${formatPorts(mergePorts(all))}`).sort()
}

/** In the order in which packets meet them; without those with a condition that pvenat imports from nobody. */
function egressesOf({ rules }: Outcome['translation'], family: Family): Egress[] {
  const all = rules.filter(({ state }) => state === 'active').flatMap(({ egresses }) => egresses)
  // Of a network that is mapped with snat=1 no line leads in, and full=1 maps both ways.
  const isHalf = ({ rule }: Egress): boolean => rule.forwards.some((one) => mapsNetwork(one) && one.snat)
  return inOrder(all.filter((one) => !isHalf(one))).filter(
    (one) =>
      one.family === family && one.sport === undefined && one.icmpType === undefined && one.via === undefined,
  )
}

interface Packet {
  family: Family
  source: Range
  destination: Range
  proto: string
  port: number
  out: string
}

/** One packet for each way to meet some of the conditions of two outcomes. */
function packetsFor(outcomes: readonly Outcome[], family: Family): Packet[] {
  const [{ network }] = outcomes.map(({ view }) => view) as [View]
  const all = outcomes.flatMap(({ translation }) => egressesOf(translation, family))
  const first = (ranges: Range[] | 'any'): Range[] =>
    ranges === 'any' ? [] : ranges.map(({ lo }) => ({ family, lo, hi: lo }))
  const inside = (range: Range): boolean => network.internal.some((one) => contains(one.network, range))
  const sources = unique(
    all.flatMap(({ source }) => first(source.ranges)),
    formatRange,
  ).filter(inside)
  const nowhere: Range = { family, lo: 42n, hi: 42n }
  const destinations = unique(
    [nowhere, ...all.flatMap(({ destination }) => first(destination.ranges))],
    formatRange,
  ).filter((destination) => !inside(destination))
  const protos = unique(['icmp', 'tcp', ...all.flatMap(({ proto }) => proto ?? [])], String)
  const ports = unique([9, ...all.flatMap((one) => one.ports ?? [])], String)
  return sources.flatMap((source) =>
    destinations.flatMap((destination) =>
      protos.flatMap((proto) =>
        ports.flatMap((port) =>
          network.external.map(({ name: out }) => ({ family, source, destination, proto, port, out })),
        ),
      ),
    ),
  )
}

function unique<T>(all: readonly T[], key: (one: T) => string): T[] {
  return [...new Map(all.map((one) => [key(one), one])).values()]
}

/** What becomes of a packet by the first egress that it meets; the only address of the node is the one to masquerade as. */
function wayOut(
  { family, source, destination, proto, port, out }: Packet,
  all: readonly Egress[],
  view: View,
): string {
  const has = (ranges: Range[] | 'any', one: Range): boolean =>
    ranges === 'any' || ranges.some((range) => contains(range, one))
  const met = all.find(
    (one) =>
      has(one.source.ranges, source) &&
      has(one.destination.ranges, destination) &&
      (one.proto === undefined || one.proto === proto) &&
      (one.ports === undefined || (one.ports[0] <= port && port <= one.ports[1])) &&
      (one.exempt || one.out.includes(out)),
  )
  const own = view.network.external
    .flatMap(({ addresses }) => addresses)
    .filter((one) => one.family === family)
  const isOnly = own.length === 1 && met?.to !== undefined && sameRange(own[0] as Range, met.to)
  const becomes = !met || met.exempt ? 'stays' : met.to && !isOnly ? formatRange(met.to) : 'masquerade'
  return `${formatRange(source)} ${formatRange(destination)} ${proto} ${port} ${out}: ${becomes}`
}

/** The look with these rules alone, in the hands of the administrator: what a guest may do is not the question. */
function withOnly(look: Look, rules: readonly GuiRule[]): Look {
  const fw = new Map([...look.tree.fw.keys()].map((file) => [file, '[OPTIONS]\nenable: 1\n']))
  for (const rule of rules) fw.set(rule.file, `${fw.get(rule.file) ?? ''}[RULES]\n${ruleLine(rule)}\n`)
  return { ...look, nodePorts: [], tree: { ...look.tree, fw } }
}
