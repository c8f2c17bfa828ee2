// What is in force is read the same whether or not it was read before.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { parseSave } from '../../src/ruleset/installed.ts'
import { inWordsOf, isEmpty, makePlan } from '../../src/ruleset/plan.ts'
import { lookAt } from '../hostile/node.ts'
import { hostileTree } from '../hostile/trees.ts'
import { FakeKernel } from './kernel.ts'

/** Lines of one chain as iptables-save has them: with a hash in the comment, known by their text, somebody else's. */
const line = fc.oneof(
  fc
    .integer({ min: 1, max: 2 })
    .map((port) => `-p tcp -m tcp --dport ${port} -j DNAT --to-destination 10.0.0.1:22`),
  fc.integer({ min: 1, max: 2 }).map((n) => `-m comment --comment "pvenat:hash${n}" -j RETURN`),
  fc.constant('-j ACCEPT'),
)
const chain = fc.array(fc.tuple(line, fc.nat(3)), { maxLength: 6 })
const saved = (rules: readonly (readonly [string, number])[], withCounters: boolean): string =>
  [
    '*nat',
    ':PVENAT-DNAT-T-0-7 - [0:0]',
    ...rules.map(([rule, n]) => `${withCounters ? `[${n}:${n * 60}] ` : ''}-A PVENAT-DNAT-T-0-7 ${rule}`),
    'COMMIT',
  ].join('\n')

test('rules, with what was there before or without it', () => {
  fc.assert(
    fc.property(chain, chain, fc.nat(6), fc.boolean(), (before, other, keep, withCounters) => {
      const now = [...before.slice(0, keep), ...other]
      const known = parseSave(saved(before, true))
      expect(parseSave(saved(now, withCounters), known)).toEqual(parseSave(saved(now, withCounters)))
    }),
    { numRuns: 1000 },
  )
})

test('in the words of its ruleset it is in force as well, with its counters', () => {
  fc.assert(
    fc.property(hostileTree, (tree) => {
      const { ruleset } = compile(lookAt(tree))
      const kernel = new FakeKernel()
      kernel.write(makePlan(ruleset, kernel.read()))
      const installed = kernel.read()
      const { own } = installed.chains[4]
      for (const [key, rules] of own)
        own.set(
          key,
          rules.map((rule) => ({ ...rule, packets: 7 })),
        )
      const worded = inWordsOf(ruleset, installed)
      expect(isEmpty(makePlan(ruleset, worded))).toBe(true)
      expect([...worded.sets.keys()]).toEqual([...installed.sets.keys()])
      expect([...worded.chains[4].own.values()].flat().every(({ packets }) => packets === 7)).toBe(true)
      expect(isEmpty(makePlan(ruleset, { ...worded, chains: installed.chains }))).toBe(true)
      const again = inWordsOf(ruleset, worded, worded)
      expect(again).toEqual(worded)
      for (const [key, rules] of again.chains[4].own)
        for (const [i, rule] of rules.entries()) expect(rule).toBe(worded.chains[4].own.get(key)?.[i])
    }),
    { numRuns: 50 },
  )
})
