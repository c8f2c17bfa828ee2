// The rules behind all translations: with several uplinks a packet that no OUT rule takes is still translated where it leaves.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { contains, parseIp, type Range } from '../../src/address.ts'
import { compile } from '../../src/pipeline.ts'
import { buildRuleset } from '../../src/ruleset/chains.ts'
import type { Rule } from '../../src/ruleset/ruleset.ts'
import type { Sizes } from '../../src/ruleset/split.ts'
import type { Look } from '../../src/read.ts'
import { loadCases } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { SEED } from '../seed.ts'

const WHOLE: Sizes = { plain: 1000, leaf: 8 }
const SPLIT: Sizes = { plain: 1, leaf: 1 }

async function lookOf(caseName: string): Promise<Look> {
  const one = loadCases().find(({ name }) => name === caseName)
  if (!one) throw new Error('no such case')
  return (await worldOf(one)).look
}

/** The chains of the table nat with these lines in cluster.fw. */
function chainsWith(look: Look, lines: readonly string[], sizes: Sizes): Map<string, readonly Rule[]> {
  const fw = new Map([['firewall/cluster.fw', `[OPTIONS]\nenable: 1\n[RULES]\n${lines.join('\n')}\n`]])
  const { translation, view } = compile({ ...look, tree: { ...look.tree, fw } })
  const { chains } = buildRuleset(translation, view, sizes)
  return new Map(chains[4].filter(({ table }) => table === 'nat').map(({ name, rules }) => [name, rules]))
}

/** The id of the NAT rule that takes a packet by its source, or `rest`; conditions but the source hold. */
function taken(chains: ReadonlyMap<string, readonly Rule[]>, name: string, source: Range): string {
  for (const { source: from, destination, state, target, notMarked, serves = '' } of chains.get(name) ?? []) {
    if (notMarked) return 'rest'
    const ranges = from?.ranges ?? 'any'
    if ((ranges !== 'any' && !ranges.some((range) => contains(range, source))) || destination || state)
      continue
    if (target.kind === 'goto') return taken(chains, target.chain, source)
    const found = target.kind === 'jump' ? taken(chains, target.chain, source) : serves
    if (found !== '') return found
  }
  return ''
}

const address = fc.integer({ min: 100, max: 160 }).map((n) => `10.10.10.${n}`)
const line = fc
  .tuple(
    fc.oneof({ weight: 9, arbitrary: address }, fc.constantFrom('10.10.10.96/28', '10.10.10.128/25')),
    fc.constantFrom('via=wg0', 'none', '192.0.2.2', ''),
  )
  .map(([source, how]) => `OUT ACCEPT -source ${source} # NAT ${how}`)

test('a packet that no OUT rule takes meets the rules behind them, also when these are split', async () => {
  const look = await lookOf('uplinks-via')
  fc.assert(
    fc.property(fc.array(line, { minLength: 2, maxLength: 30 }), fc.array(address), (lines, asked) => {
      const all = [...lines, 'OUT ACCEPT -source 10.10.10.99 # NAT via=wg0']
      const [whole, split] = [WHOLE, SPLIT].map((sizes) => chainsWith(look, all, sizes))
      if (!whole || !split) throw new Error('two sizes')
      expect(split.size).toBeGreaterThan(whole.size)
      for (const one of [...asked, '10.10.10.1'].map((text) => parseIp(text) as Range)) {
        const without = taken(whole, 'PVENAT-POSTROUTING', one)
        expect(taken(split, 'PVENAT-POSTROUTING', one)).toBe(without)
        expect(without).not.toBe('')
      }
    }),
    { numRuns: 60, seed: SEED },
  )
})

test('with one uplink no chain is added', async () => {
  const look = await lookOf('out-cluster')
  const lines = Array.from({ length: 70 }, (_, i) => `OUT ACCEPT -source 10.10.10.${i + 2} # NAT`)
  expect(chainsWith(look, lines, SPLIT).has('PVENAT-EGRESS')).toBe(false)
})
