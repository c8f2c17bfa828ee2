// Trees of rules: which chains there are, how long, and what an edit rewrites.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import type { Chain, Rule } from '../../src/ruleset/ruleset.ts'
import { chainText } from '../../src/ruleset/restore-text.ts'
import { SEED } from '../seed.ts'
import { lookAt } from '../tracer/world.ts'

const GUESTS = ['10.10.10.105', '10.10.10.107', '10.20.20.110']

interface One {
  port: number
  inner: number
}

const line = ({ port, inner }: One, ip = 'dest'): string =>
  `IN ACCEPT -${ip} ${GUESTS[port % 3]} -p tcp -dport ${inner} # NAT ${port}`

function chainsOf(lines: readonly string[]): Map<string, Chain> {
  const text = `[OPTIONS]\nenable: 1\n[RULES]\n${lines.join('\n')}\n`
  const { ruleset } = compile(lookAt(new Map([['firewall/cluster.fw', text]])))
  return new Map(ruleset.chains[4].map((chain) => [chain.name, chain]))
}

/** What is sent of each chain of the nat table. */
function texts(chains: ReadonlyMap<string, Chain>): Map<string, string> {
  const nat = [...chains].filter(([, { table }]) => table === 'nat')
  return new Map(
    nat.map(([name, chain]) => [
      name,
      chainText(chain, 4)
        .map((one) => one.line)
        .join('\n'),
    ]),
  )
}

/** 300 to 600 ports, most of them close together. */
const crowd: fc.Arbitrary<One[]> = fc
  .uniqueArray(
    fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 20_000, max: 20_900 }) },
      { weight: 1, arbitrary: fc.integer({ min: 9000, max: 59_000 }) },
    ),
    { minLength: 300, maxLength: 600 },
  )
  .map((ports) => ports.map((port) => ({ port, inner: 1 + (port % 50) })))

const isOnWay = (port: number, name: string): boolean => {
  const [, lo, hi] = /^PVENAT-DNAT-T-(\d+)-(\d+)$/.exec(name) ?? [
    name,
    0,
    name === 'PVENAT-DNAT' ? 65_535 : -1,
  ]
  return Number(lo) <= port && port <= Number(hi)
}

test('an edit of one forward rewrites its leaf; one that comes or goes also the place where the way to it begins', () => {
  fc.assert(
    fc.property(crowd, fc.nat(), (all, pick) => {
      const at = pick % all.length
      const { port } = all[at] as One
      const before = texts(chainsOf(all.map((one) => line(one))))
      const edited = texts(chainsOf(all.map((one, i) => line(i === at ? { port, inner: 99 } : one))))
      expect([...edited.keys()]).toEqual([...before.keys()])
      const changed = [...edited].filter(([name, text]) => before.get(name) !== text).map(([name]) => name)
      expect(changed).toHaveLength(1)
      expect(isOnWay(port, changed[0] ?? '')).toBe(true)

      const without = texts(chainsOf(all.filter((_, i) => i !== at).map((one) => line(one))))
      const rewritten = [...without].filter(([name, text]) => (before.get(name) ?? text) !== text)
      expect(rewritten.length).toBeLessThanOrEqual(2)
      for (const [name] of rewritten) expect(isOnWay(port, name)).toBe(true)
      // A leaf that became too long or short enough: it and its parts.
      const gone = [...before.keys()].filter((name) => !without.has(name))
      const come = [...without.keys()].filter((name) => !before.has(name))
      expect(gone.length + come.length).toBeLessThanOrEqual(10)
    }),
    { seed: SEED, numRuns: 10 },
  )
}, 60_000)

test('few forwards are one plain chain', () => {
  const all = Array.from({ length: 63 }, (_, i) => ({ port: 20_000 + i, inner: 22 }))
  const names = (list: readonly One[]): string[] => [...chainsOf(list.map((one) => line(one))).keys()]
  expect(names(all).filter((name) => name.startsWith('PVENAT-DNAT'))).toEqual(['PVENAT-DNAT'])
  expect(names([...all, { port: 9000, inner: 22 }])).toContain('PVENAT-DNAT-T-20032-20039')
})

test('no chain is long and no name too long, in either family and at any address', () => {
  const lines = Array.from({ length: 1000 }, (_, i) => [
    `IN ACCEPT -dest 10.10.10.${1 + (i % 250)} -p tcp -dport ${1 + i} # NAT 203.0.113.7:${20_000 + 2 * i} hairpin=0`,
    `IN ACCEPT -dest 10.10.${i >> 8}.${i & 255} -source 198.51.100.${i & 255} -p udp -sport ${20_000 + i} -dport ${1 + i} # NAT`,
    `IN ACCEPT -dest fd10::${(i * 7919).toString(16)} -p tcp -dport 22 # NAT [2001:db8:113::7]:${20_000 + i}`,
    `OUT ACCEPT -source 10.10.${i >> 8}.${i & 255} # NAT${i % 9 === 0 ? ' none' : ''}`,
  ]).flat()
  for (const part of [
    lines.filter((one) => one.startsWith('IN')),
    lines.filter((one) => one.startsWith('OUT')),
  ]) {
    const text = `[OPTIONS]\nenable: 1\n[RULES]\n${part.join('\n')}\n`
    const { ruleset } = compile(lookAt(new Map([['firewall/cluster.fw', text]])))
    for (const family of [4, 6] as const) {
      const names = ruleset.chains[family].map(({ name }) => name)
      expect(new Set(names).size).toBe(names.length)
      for (const { name, rules } of ruleset.chains[family]) {
        expect.soft(name.length, name).toBeLessThanOrEqual(28)
        expect.soft(rules.length, name).toBeLessThanOrEqual(16)
      }
    }
  }
}, 60_000)

test('a list that one rule shifts is one rule, as far as its ports lie side by side', () => {
  const others = Array.from({ length: 70 }, (_, i) => line({ port: 30_000 + i, inner: 22 }))
  const rulesFor = (text: string): Rule[] => {
    const all = [...chainsOf([text, ...others]).values()].flatMap(({ rules }) => rules)
    return all.filter(({ target, ports }) => target.kind === 'dnat' && ports && ports[0] < 30_000)
  }
  const to = 'IN ACCEPT -dest 10.10.10.105 -p tcp'
  expect(rulesFor(`${to} -dport 80,81,90 # NAT 8080,8081,8082`)).toMatchObject([
    { ports: [8080, 8081], target: { port: 80, shiftFrom: [8080, 8081] } },
    { ports: [8082, 8082], target: { port: 90 } },
  ])
  expect(rulesFor(`${to} -dport 80 # NAT 8080,8081`)).toMatchObject([
    { ports: [8080, 8081], target: { port: 80 } },
  ])
  // Each NAT rule counts its own packets.
  expect(rulesFor(`${to} -dport 80 # NAT 8080\n${to} -dport 81 # NAT 8081`)).toHaveLength(2)
})
