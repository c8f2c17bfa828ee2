// Overlaps, checked port by port against a model that knows nothing but order: whoever comes first has it.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { overlap, parseIp, parseRange, sameRange, type Range } from '../../src/address.ts'
import { resolveClaims } from '../../src/nat/claims.ts'
import type { PortRange } from '../../src/nat/comment.ts'
import type { Forward, Match, NatRule } from '../../src/nat/model.ts'

const external = ['203.0.113.2', '203.0.113.7', '203.0.113.9'].map((text) => parseIp(text) as Range)
const sources: Match[] = [
  { ranges: 'any' },
  ...['198.51.100.0/24', '198.51.100.7', '192.0.2.0/24'].map((text) => ({
    ranges: [parseRange(text) as Range],
  })),
  { ranges: [] },
]

interface Wish {
  proto: string
  ports: PortRange
  single: boolean
  at: number[]
  source: number
}

function ruleOf(id: number, wishes: readonly Wish[]): NatRule {
  const where = { file: 'firewall/cluster.fw', span: { line: id + 1, from: 0, to: 1 } }
  const rule: NatRule = {
    ...{ id: `r${id}`, kind: 'forward', state: 'active', reason: '', scope: { kind: 'cluster' } },
    ...{ place: where, where, comment: 'NAT', source: '', forwards: [], egresses: [], blocks: [] },
  }
  rule.forwards = wishes.map(({ proto, ports, single, at, source }): Forward => {
    const inner = parseIp(`10.10.10.${100 + id}`) as Range
    const flags = { hairpin: true, snat: false, full: false, accept: false, single }
    const match = sources[source] as Match
    const addresses = at.map((i) => external[i] as Range)
    return {
      family: 4,
      proto,
      ports,
      innerPort: 1000 + ports[0],
      external: addresses,
      inner,
      source: match,
      ...flags,
      rule,
    }
  })
  return rule
}

const wish: fc.Arbitrary<Wish> = fc.record({
  proto: fc.constantFrom('tcp', 'udp'),
  ports: fc
    .tuple(fc.integer({ min: 250, max: 270 }), fc.integer({ min: 0, max: 8 }))
    .map(([lo, width]): PortRange => [lo, lo + width]),
  single: fc.boolean(),
  at: fc.subarray([0, 1, 2], { minLength: 1 }),
  source: fc.nat({ max: sources.length - 1 }),
})
const rules = fc
  .array(fc.array(wish, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 5 })
  .map((all) => all.map((wishes, id) => ruleOf(id, wishes)))

function meet(a: Match, b: Match): boolean {
  const [x, y] = [a.ranges, b.ranges]
  if (x === 'any' || y === 'any') return true
  return x.some((one) => y.some((other) => overlap(one, other)))
}

/** What serves one address: its own pieces and, if it shares them, the common ones. */
function servedAt(dispatch: ReturnType<typeof resolveClaims>, address: Range): Forward[] {
  const here = dispatch.addresses.find((one) => sameRange(one.address, address))
  return [...(here?.special ?? []), ...(here?.common ? dispatch.common : [])]
}

function innerPort({ ports, innerPort: first = 0, single }: Forward, port: number): number {
  return single || !ports ? first : first + port - ports[0]
}

test('granted claims never overlap', () => {
  fc.assert(
    fc.property(rules, (all) => {
      const dispatch = resolveClaims(all, external, 4)
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
      const dispatch = resolveClaims(all, external, 4)
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

test('nobody loses where nobody else claims', () => {
  fc.assert(
    fc.property(rules, (all) => {
      const { losses } = resolveClaims(all, external, 4)
      for (const { loser, winner } of losses) {
        expect(winner.proto).toBe(loser.proto)
        expect(meet(winner.source, loser.source)).toBe(true)
        expect(winner.external.some((one) => loser.external.some((other) => sameRange(one, other)))).toBe(
          true,
        )
      }
    }),
  )
})

test('a rule that stands alone is common to all addresses, and the order of rules decides, nothing else', () => {
  const wishes = (at: number[]): Wish[] => [{ proto: 'tcp', ports: [80, 80], single: false, at, source: 0 }]
  const first = ruleOf(0, wishes([0, 1, 2]))
  expect(resolveClaims([first], external, 4)).toMatchObject({ common: [{ ports: [80, 80] }], losses: [] })
  const second = ruleOf(1, wishes([1]))
  expect(resolveClaims([second, first], external, 4).losses).toMatchObject([
    { loser: { rule: { id: 'r0' } } },
  ])
  expect(resolveClaims([first, second], external, 4).losses).toMatchObject([
    { loser: { rule: { id: 'r1' } } },
  ])
})
