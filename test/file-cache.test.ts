// Whatever is edited in whatever order: the cache changes no result.
// RUNS=100000 npx vitest run --project unit test/file-cache.test.ts
import fc from 'fast-check'
import { isDeepStrictEqual } from 'node:util'
import { expect, test } from 'vitest'
import { makeFileCache, sameValue } from '../src/file-cache.ts'
import { NOTHING_LEARNT } from '../src/guest/sightings.ts'
import { compile, makeCompiler, type Outcome } from '../src/pipeline.ts'
import type { Look } from '../src/read.ts'
import { DEFAULT_SETTINGS } from '../src/settings.ts'
import { lookAt, type HostileTree } from './hostile/node.ts'
import { hostileTree } from './hostile/trees.ts'
import { ledgerAfter } from './ledger.ts'
import { NO_RIGHTS } from '../src/nat/rights.ts'

const numRuns = Number(process.env.RUNS ?? 120)

/** Takes one thing of a tree over into another one. */
type Edit = (before: HostileTree, from: HostileTree) => HostileTree

const guest =
  (part: 'fw' | 'config' | 'all') =>
  (before: HostileTree, from: HostileTree): HostileTree => {
    const [other] = from.guests
    if (!other) return { ...before, guests: before.guests.slice(1) }
    const known = before.guests.find(({ vmid }) => vmid === other.vmid)
    const guests = before.guests.filter(({ vmid }) => vmid !== other.vmid)
    const next = !known || part === 'all' ? other : { ...known, [part]: other[part] }
    return { ...before, guests: [...guests, next].sort((a, b) => a.vmid - b.vmid) }
  }

const EDITS: readonly Edit[] = [
  guest('fw'),
  guest('fw'),
  guest('config'),
  guest('all'),
  (before, { cluster }) => ({ ...before, cluster }),
  // A rule of cluster.fw that is new: its aliases, sets and groups stay what they are.
  (before) => ({ ...before, cluster: `${before.cluster}\n[RULES]\nOUT ACCEPT -source 10.10.0.0/16 # NAT\n` }),
  (before, { host }) => ({ ...before, host }),
  (before, { learnt }) => (learnt ? { ...before, learnt } : before),
  (before, { settings = DEFAULT_SETTINGS }) => ({ ...before, settings }),
  (before) => ({ ...before, settings: { ...DEFAULT_SETTINGS, requireFirewall: false } }),
  (before) => before,
]

const steps = fc.array(fc.tuple(fc.constantFrom(...EDITS), hostileTree, fc.constantFrom(0, 0, 5, 4000)), {
  minLength: 2,
  maxLength: 7,
})

/** What the service would look at after it had put `last` into force. */
function nextLook(tree: HostileTree, last: Outcome | undefined, now: number): Look {
  const refused = last?.translation.rules.filter((_, i) => i % 7 === 6).map(({ id }) => [id, 'no'] as const)
  const remembered = last?.view.sightings ?? []
  const ledger = last ? ledgerAfter(last) : NO_RIGHTS
  return { ...lookAt(tree), ledger, remembered, now, quarantined: new Map(refused) }
}

test(
  `${numRuns} sequences of edits come to the same as each of their states alone`,
  { timeout: 120_000 },
  () => {
    let rules = 0
    fc.assert(
      fc.property(hostileTree, steps, (start, edits) => {
        const compileNext = makeCompiler()
        let tree = start
        let now = 1_760_000_000
        let last = compileNext(nextLook(tree, undefined, now))
        for (const [edit, from, seconds] of edits) {
          tree = edit(tree, from)
          now += seconds
          const look = nextLook(tree, last, now)
          last = compileNext(look)
          const alone = compile(look)
          rules += alone.translation.rules.length
          if (!isDeepStrictEqual(last, alone)) expect(last).toEqual(alone)
        }
      }),
      { numRuns },
    )
    expect(rules).toBeGreaterThan(numRuns)
  },
)

test('what did not change is the very same value', () => {
  const compile = makeCompiler()
  const rules = ['[OPTIONS]', 'enable: 1', '[RULES]', 'IN SSH(ACCEPT) # NAT 1022'].join('\n')
  const config = 'net0: name=eth0,bridge=vmbr1,hwaddr=BC:24:11:00:00:69,ip=10.10.0.105/16\n'
  const tree = (fw: string): HostileTree => ({
    cluster: '[OPTIONS]\nenable: 1\n',
    host: '',
    guests: [
      { vmid: 105, type: 'lxc', config, fw: rules },
      { vmid: 106, type: 'lxc', config: config.replaceAll('105', '106').replace('69', '6A'), fw },
    ],
  })
  const [first, second] = ['IN HTTP(ACCEPT) # NAT 80', 'IN HTTP(ACCEPT) # NAT 81'].map(
    (line) => compile(lookAt(tree(rules.replace(/IN .*/, line)))).translation,
  )
  expect(first?.rules).toHaveLength(2)
  expect(second?.rules[0]).toBe(first?.rules[0])
  expect(second?.rules[1]).not.toBe(first?.rules[1])
})

test('an alias that changes changes the sets that name it', () => {
  const at = (address: string): Look =>
    lookAt({
      cluster: [
        '[OPTIONS]',
        'enable: 1',
        '[ALIASES]',
        `vpn ${address}`,
        '[IPSET office]',
        'dc/vpn',
        '[RULES]',
        'IN ACCEPT -source +dc/office -dest 10.10.0.107 -p tcp -dport 80 # NAT 8080',
      ].join('\n'),
      host: '',
      guests: [],
    })
  const compile = makeCompiler()
  compile(at('192.0.2.7'))
  const { sets } = compile(at('192.0.2.8')).ruleset
  expect(sets.map(({ entries }) => entries)).toEqual([['192.0.2.8']])
})

test('a look that says the same is not understood again, unless time has its say', () => {
  const look = lookAt({ cluster: '[OPTIONS]\nenable: 1\n', host: '', guests: [] })
  const until = lookAt({ cluster: '[OPTIONS]\nenable: 1760000000\n', host: '', guests: [] })
  const compile = makeCompiler()
  const outcomeOf = (one: Look, now: number): Outcome => compile({ ...one, now })
  const first = outcomeOf({ ...look, tree: { ...look.tree } }, 1)
  expect(outcomeOf(look, 2).translation).toBe(first.translation)
  expect(outcomeOf({ ...look, learnt: { ...NOTHING_LEARNT, lease: ['text'] } }, 3).view.now).toBe(3)
  for (const now of [4, 5]) expect(outcomeOf(until, now).view.now).toBe(now)
})

test('names that nobody asked for between two sweeps are forgotten', () => {
  const cache = makeFileCache()
  let made = 0
  const make = (): number => cache.make('one', [1], () => ++made)
  expect([make(), make()]).toEqual([1, 1])
  cache.sweep()
  expect(make()).toBe(1)
  cache.sweep()
  cache.sweep()
  expect(make()).toBe(2)
})

test('the same by content', () => {
  const value = (): unknown => ({ a: [1n, { b: new Map([[1, new Set(['x'])]]) }], c: undefined })
  expect(sameValue(value(), value())).toBe(true)
  expect(sameValue(value(), { a: [1n, { b: new Map([[1, new Set(['y'])]]) }], c: undefined })).toBe(false)
  expect(sameValue({ a: undefined }, { b: undefined })).toBe(false)
  expect(sameValue(new Set(), [])).toBe(false)
  expect(sameValue({}, [])).toBe(false)
})
