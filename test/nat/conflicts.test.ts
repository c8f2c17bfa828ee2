// Overlaps, checked port by port against a model that knows nothing but order: whoever comes first has it.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { overlap, parseIp, parseRange, sameRange, type Range } from '../../src/address.ts'
import { grantAll, grantedRights } from '../../src/nat/conflicts.ts'
import { ANY, matchOf } from '../../src/nat/match.ts'
import type { Dispatch, Forward, Clients, NatRule } from '../../src/nat/nat-rule.ts'
import type { Right } from '../../src/nat/rights.ts'
import type { PortRange } from '../../src/ports.ts'

const external = ['203.0.113.2', '203.0.113.7', '203.0.113.9'].map((text) => parseIp(text) as Range)
const sources: Clients[] = [
  ANY,
  ...['198.51.100.0/24', '198.51.100.7', '192.0.2.0/24'].map((text) =>
    matchOf([parseRange(text) as Range], 'list'),
  ),
]

/** What one rule asks for: all of it for one source, at the same external addresses. */
interface Wish {
  ports: { proto: string; range: PortRange; single: boolean }[]
  at: number[]
  source: number
}

function ruleOf(id: number, { ports, at, source }: Wish): NatRule {
  const where = { file: 'firewall/cluster.fw', span: { line: id + 1, from: 0, to: 1 } }
  const rule: NatRule = {
    id: `r${id}`,
    kind: 'forward',
    state: 'active',
    reason: '',
    isMeant: true,
    scope: { kind: 'cluster' },
    place: where,
    where,
    comment: 'NAT',
    source: '',
    forwards: [],
    egresses: [],
    blocks: [],
    asks: [],
    isGivenUp: false,
  }
  const inner = parseIp(`10.10.10.${100 + id}`) as Range
  const flags = { except: [], hairpin: true, snat: false, full: false, accept: false }
  const match = sources[source] as Clients
  const addresses = at.map((i) => external[i] as Range)
  rule.forwards = ports.map(({ proto, range, single }): Forward => {
    const lead = { proto, ports: range, innerPort: 1000 + range[0], single }
    return { family: 4, ...lead, external: addresses, inner, source: match, ...flags, rule }
  })
  return rule
}

const wish: fc.Arbitrary<Wish> = fc.record({
  ports: fc.array(
    fc.record({
      proto: fc.constantFrom('tcp', 'udp'),
      range: fc
        // Some are wider than the blocks by which granted claims are found.
        .tuple(
          fc.integer({ min: 250, max: 270 }),
          fc.oneof(
            { weight: 6, arbitrary: fc.integer({ min: 0, max: 8 }) },
            { weight: 1, arbitrary: fc.constant(290) },
          ),
        )
        .map(([lo, width]): PortRange => [lo, lo + width]),
      single: fc.boolean(),
    }),
    { minLength: 1, maxLength: 2 },
  ),
  at: fc.subarray([0, 1, 2], { minLength: 1 }),
  source: fc.nat({ max: sources.length - 1 }),
})
const rules = fc
  .array(wish, { minLength: 1, maxLength: 6 })
  .map((all) => all.map((one, id) => ruleOf(id, one)))

function resolve(
  rules: readonly NatRule[],
  rights: readonly Right[] = [],
): Dispatch & Pick<ReturnType<typeof grantAll>, 'losses'> {
  const { dispatch, losses } = grantAll(
    rules.flatMap((rule) => rule.forwards),
    external,
    [],
    rights,
  )
  return { ...dispatch, losses }
}

function meet(a: Clients, b: Clients): boolean {
  const [x, y] = [a.ranges, b.ranges]
  if (x === 'any' || y === 'any') return true
  return x.some((one) => y.some((other) => overlap(one, other)))
}

/** What serves one address: its own pieces and, if it shares them, the common ones. */
function servedAt(dispatch: ReturnType<typeof resolve>, address: Range): Forward[] {
  const here = dispatch.addresses.find((one) => sameRange(one.address, address))
  return [...(here?.special ?? []), ...(here?.common ? dispatch.common : [])]
}

function innerPort({ ports, innerPort: first = 0, single }: Forward, port: number): number {
  return single || !ports ? first : first + port - ports[0]
}

test('granted claims never overlap', () => {
  fc.assert(
    fc.property(rules, (all) => {
      const dispatch = resolve(all)
      for (const address of external) {
        const served = servedAt(dispatch, address)
        const clashes = served.flatMap((a, i) =>
          served
            .slice(i + 1)
            .filter(
              (b) =>
                a.proto === b.proto &&
                (a.ports?.[0] ?? 0) <= (b.ports?.[1] ?? 0) &&
                (b.ports?.[0] ?? 0) <= (a.ports?.[1] ?? 0) &&
                meet(a.source, b.source),
            ),
        )
        expect(clashes).toEqual([])
      }
    }),
  )
})

test('each port of each claimant is granted with the inner port that it asked for, or lost to a named winner', () => {
  fc.assert(
    fc.property(rules, (all) => {
      const dispatch = resolve(all)
      for (const address of external) {
        const served = servedAt(dispatch, address)
        const had: { forward: Forward; port: number }[] = []
        for (const forward of all.flatMap((rule) => rule.forwards)) {
          if (!forward.external.some((one) => sameRange(one, address))) continue
          const [lo, hi] = forward.ports as PortRange
          for (let port = lo; port <= hi; port++) {
            const winner = had.find(
              (one) =>
                one.port === port &&
                one.forward.proto === forward.proto &&
                meet(one.forward.source, forward.source),
            )
            const pieces = served.filter(
              (piece) =>
                piece.rule === forward.rule &&
                piece.proto === forward.proto &&
                piece.source === forward.source &&
                (piece.ports?.[0] ?? 0) <= port &&
                port <= (piece.ports?.[1] ?? 0) &&
                innerPort(piece, port) === innerPort(forward, port),
            )
            if (!winner) {
              had.push({ forward, port })
              expect(pieces).not.toEqual([])
            } else if (winner.forward.rule !== forward.rule) {
              const named = dispatch.losses.some(
                ({ loser, winner: by, ports }) =>
                  loser.rule === forward.rule &&
                  'rule' in by &&
                  by.rule === winner.forward.rule &&
                  (ports?.[0] ?? 0) <= port &&
                  port <= (ports?.[1] ?? 65535),
              )
              expect(named).toBe(true)
            }
          }
        }
      }
    }),
  )
})

test('what guests have in force stays theirs, whoever comes', () => {
  const guests = fc.tuple(rules, rules).map(([there, coming]) => {
    // Two rules for each guest.
    const own = (rule: NatRule, i: number, first: number): NatRule => {
      const vmid = first + (i >> 1)
      rule.id = `r${first + i}`
      rule.scope = { kind: 'guest', guest: { vmid, name: '', type: 'lxc', nics: [] } }
      return rule
    }
    return [there.map((rule, i) => own(rule, i, 200)), coming.map((rule, i) => own(rule, i, 100))] as const
  })
  const served = (dispatch: ReturnType<typeof resolve>, among: readonly NatRule[]): string[] =>
    external
      .flatMap((address) =>
        servedAt(dispatch, address)
          .filter(({ rule }) => among.includes(rule))
          .flatMap((piece) => {
            const [lo, hi] = piece.ports ?? [0, 0]
            const where = `${address.lo} ${piece.rule.id} ${piece.proto} ${sources.indexOf(piece.source)}`
            return Array.from(
              { length: hi - lo + 1 },
              (_, i) => `${where} ${lo + i}>${innerPort(piece, lo + i)}`,
            )
          }),
      )
      .sort()
  fc.assert(
    fc.property(guests, ([there, coming]) => {
      const before = resolve(there)
      const after = resolve([...coming, ...there], grantedRights(before))
      expect(served(after, there)).toEqual(served(before, there))
    }),
  )
})

test('nobody loses where nobody else claims', () => {
  fc.assert(
    fc.property(rules, (all) => {
      const { losses } = resolve(all)
      for (const { loser, winner } of losses) {
        expect(winner.proto).toBe(loser.proto)
        expect('rule' in winner && meet(winner.source, loser.source)).toBe(true)
        expect(
          'rule' in winner &&
            winner.external.some((one) => loser.external.some((other) => sameRange(one, other))),
        ).toBe(true)
      }
    }),
  )
})

test('a rule that stands alone is common to all addresses, and the order of rules decides, nothing else', () => {
  const lone = (at: number[]): Wish => {
    return { ports: [{ proto: 'tcp', range: [80, 80], single: false }], at, source: 0 }
  }
  const first = ruleOf(0, lone([0, 1, 2]))
  expect(resolve([first])).toMatchObject({ common: [{ ports: [80, 80] }], losses: [] })
  const second = ruleOf(1, lone([1]))
  expect(resolve([second, first]).losses).toMatchObject([{ loser: { rule: { id: 'r0' } } }])
  expect(resolve([first, second]).losses).toMatchObject([{ loser: { rule: { id: 'r1' } } }])
})
