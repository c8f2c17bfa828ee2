// Which port a guest's UDP leaves by, for ranges of every place and width, as the kernel counts: low + source port mod width.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import type { Rule } from '../../src/ruleset/ruleset.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

/** The rules that translate UDP of guest 105 by its source port, from whichever chain. */
async function rulesOf(lines: readonly string[]): Promise<Rule[]> {
  const text = `[OPTIONS]\nenable: 1\n[RULES]\n${[...lines, 'OUT ACCEPT # NAT'].join('\n')}\n`
  const { ruleset } = compile((await worldOf(caseOf(new Map([['firewall/105.fw', text]])))).look)
  return ruleset.chains[4]
    .flatMap(({ rules }) => rules)
    .filter(({ sport, target }) => sport && target.kind === 'snat')
}

function leavesBy(port: number, rules: readonly Rule[]): number {
  const rule = rules.find(({ sport }) => sport && sport[0] <= port && port <= sport[1])
  if (rule?.target.kind !== 'snat' || rule.target.port === undefined) return port
  const { shiftFrom, port: low } = rule.target
  return shiftFrom ? low + (port % (shiftFrom[1] - shiftFrom[0] + 1)) : low
}

test('each port of a forwarded range leaves as its external port, and others as they are', async () => {
  const range = fc.record({
    inner: fc.integer({ min: 1000, max: 1064 }),
    outer: fc.integer({ min: 20000, max: 20064 }),
    width: fc.integer({ min: 1, max: 70 }),
  })
  await fc.assert(
    fc.asyncProperty(range, async ({ inner, outer, width }) => {
      const last = width - 1
      const rules = await rulesOf([
        `IN ACCEPT -p udp -dport ${inner}:${inner + last} # NAT ${outer}-${outer + last}`,
      ])
      // A range of so many ports is a few rules.
      expect(rules.length).toBeLessThanOrEqual(14)
      for (let i = -1; i <= width; i++)
        expect(leavesBy(inner + i, rules)).toBe(i < 0 || i === width ? inner + i : outer + i)
    }),
    { numRuns: 60 },
  )
}, 30_000)

test('many forwards of one guest stand in chains that are split by source port', async () => {
  const lines = Array.from(
    { length: 200 },
    (_, i) => `IN ACCEPT -p udp -dport ${3000 + 7 * i} # NAT ${20000 + i}`,
  )
  const rules = await rulesOf(lines)
  expect(rules.map(({ sport }) => leavesBy(sport?.[0] ?? 0, rules)).sort((a, b) => a - b)).toEqual(
    lines.map((_, i) => 20000 + i),
  )
  const text = `[OPTIONS]\nenable: 1\n[RULES]\n${[...lines, 'OUT ACCEPT # NAT'].join('\n')}\n`
  const { ruleset } = compile((await worldOf(caseOf(new Map([['firewall/105.fw', text]])))).look)
  const longest = ruleset.chains[4].filter(({ rules: own }) => own.some(({ sport }) => sport))
  expect(Math.max(...longest.map(({ rules: own }) => own.length))).toBeLessThanOrEqual(9)
})
