// Plans: the least that must be written. The rulesets are those of the golden cases.
import { describe, expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { isEmpty, makePlan, NOTHING, type Plan } from '../../src/ruleset/plan.ts'
import type { Ruleset } from '../../src/ruleset/ruleset.ts'
import { written } from '../../src/ruleset/restore-text.ts'
import { loadCases } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { lookAt } from '../tracer/world.ts'
import { FakeKernel, host } from './kernel.ts'

const rulesets = await Promise.all(
  loadCases().map(async (one) => [one.name, compile((await worldOf(one)).look).ruleset] as const),
)

function rulesetOf(name: string): Ruleset {
  return rulesets.find(([one]) => one === name)?.[1] ?? NOTHING
}

function put(kernel: FakeKernel, ruleset: Ruleset): Plan {
  const plan = makePlan(ruleset, kernel.read())
  kernel.write(plan)
  return plan
}

test('a second plan is empty, from nothing and from any other ruleset', () => {
  const kernel = new FakeKernel()
  for (const [name, ruleset] of rulesets) {
    for (const start of [new FakeKernel(), kernel]) {
      put(start, ruleset)
      const again = makePlan(ruleset, start.read())
      expect([name, isEmpty(again), again.changes]).toEqual([name, true, []])
    }
  }
})

test('rollback from any ruleset leaves nothing', () => {
  const untouched = new FakeKernel()
  for (const [, ruleset] of rulesets) {
    const kernel = new FakeKernel()
    put(kernel, ruleset)
    put(kernel, NOTHING)
    expect(kernel).toEqual(untouched)
  }
})

test('a new mark is set before the nat table follows, and is written once', () => {
  const kernel = new FakeKernel()
  put(kernel, rulesetOf('uplinks-two'))
  const many = rulesetOf('uplinks-via')
  const { tables } = makePlan(many, kernel.read())
  const [early = '', late = ''] = tables[4].split(/^\*nat$/m)
  for (const line of many.chains[4].flatMap(({ name, texts }) =>
    name === 'PVENAT-ANSWERS' ? texts.map((one) => one.line) : [],
  ))
    expect([early.includes(line), late.includes(line)]).toEqual([true, true])
  // Packets of guests are not translated at wg0 yet.
  expect(early).not.toContain('PVENAT-LEAVING')
  put(kernel, many)
  expect(isEmpty(makePlan(many, kernel.read()))).toBe(true)
  // And an old mark stays until nat has followed.
  const [before = ''] = makePlan(rulesetOf('uplinks-two'), kernel.read()).tables[4].split(/^\*nat$/m)
  expect(before).toMatch(/^\*mangle\n/)
  expect(before).not.toMatch(/^(:|-[DFX])/m)
})

test('a chain that stays is not written early, however iptables-save spells its rules', () => {
  const kernel = new FakeKernel()
  const ruleset = rulesetOf('uplinks-mss-wg')
  put(kernel, ruleset)
  for (const [name, rules] of kernel.chains)
    kernel.chains.set(
      name,
      rules.map((rule) => rule.replace('-p tcp --tcp-flags', '-p tcp -m tcp --tcp-flags')),
    )
  expect(isEmpty(makePlan(ruleset, kernel.read()))).toBe(true)
})

test('only the chains that differ are written', () => {
  const kernel = new FakeKernel()
  put(kernel, rulesetOf('table-01-ssh-macro'))
  const { tables, changes } = makePlan(rulesetOf('table-02-same-ports'), kernel.read())
  expect(changes.map(({ kind, what }) => [kind, what])).toContainEqual(['replace', 'chain PVENAT-DNAT'])
  expect(tables[4]).toMatch(/^\*nat\n:PVENAT-DNAT - \[0:0\]\n/)
  expect(tables[4]).not.toMatch(/FORWARD|POSTROUTING|ZONE/)
})

test('what lets packets pass is written before what sends them, and taken away after it', () => {
  const ruleset = rulesetOf('table-03-sport-ssh-in')
  const kernel = new FakeKernel()
  const order = ({ tables }: Plan): string[] => tables[4].match(/^\*\w+/gm) ?? []
  expect(order(put(kernel, ruleset))).toEqual(['*raw', '*filter', '*nat'])
  expect(order(put(kernel, NOTHING))).toEqual(['*nat', '*filter', '*raw'])
})

describe('sets', () => {
  const setOf = (...entries: string[]): Ruleset => ({
    ...NOTHING,
    sets: [{ name: 'pvenat-0-office-v4', type: 'hash:net', family: 4, entries }],
  })

  test('are swapped only when their members differ', () => {
    const kernel = new FakeKernel()
    expect(put(kernel, setOf(host(1), host(2))).sets).not.toContain('swap')
    expect(makePlan(setOf(host(1), host(2)), kernel.read()).sets).toBe('')
    const { sets, changes } = put(kernel, setOf(host(1), host(3)))
    expect(sets.split('\n').slice(-3)).toEqual([
      'swap pvenat-tmp-0 pvenat-0-office-v4',
      'destroy pvenat-tmp-0',
      '',
    ])
    expect(changes).toMatchObject([{ kind: 'replace', added: [host(3)], removed: [host(2)] }])
    expect(kernel.sets.get('pvenat-0-office-v4')?.slice(1)).toEqual([host(1), host(3)])
  })

  test('of pairs change by member, whatever their size', () => {
    const pairs = (...entries: string[]): Ruleset => ({
      ...NOTHING,
      sets: [{ name: 'pvenat-self-0-many-v4', type: 'hash:ip,port', family: 4, entries }],
    })
    const kernel = new FakeKernel()
    put(kernel, pairs('10.0.0.1,tcp:1', '10.0.0.1,tcp:2'))
    expect(put(kernel, pairs('10.0.0.1,tcp:1', '10.0.0.1,tcp:3')).sets).toBe(
      'del pvenat-self-0-many-v4 10.0.0.1,tcp:2 -exist\nadd pvenat-self-0-many-v4 10.0.0.1,tcp:3 -exist\n',
    )
    expect(makePlan(pairs('10.0.0.1,tcp:1', '10.0.0.1,tcp:3'), kernel.read()).sets).toBe('')
  })

  test('a name that a crash left behind is not taken again, and goes away', () => {
    const kernel = new FakeKernel()
    put(kernel, setOf(host(1)))
    kernel.sets.set('pvenat-tmp-0', ['hash:net family inet hashsize 64 maxelem 64'])
    put(kernel, setOf(host(2)))
    expect([...kernel.sets.keys()]).toEqual(['pvenat-0-office-v4'])
  })

  test('one that outgrows its size is made anew, with room', () => {
    const kernel = new FakeKernel()
    put(kernel, setOf(host(1)))
    const many = Array.from({ length: 200 }, (_, i) => host(i)).sort()
    expect(put(kernel, setOf(...many)).sets).toContain('maxelem 256')
    expect(isEmpty(makePlan(setOf(...many), kernel.read()))).toBe(true)
  })

  test('one that nobody wants any more is destroyed after the rules that used it', () => {
    const kernel = new FakeKernel()
    put(kernel, rulesetOf('source-sets'))
    const [named = ''] = rulesetOf('source-sets')
      .sets.map(({ name }) => name)
      .filter((name) => /^pvenat-0-/.test(name))
    expect(put(kernel, rulesetOf('table-01-ssh-macro')).staleSets).toContain(named)
    expect(kernel.sets.size).toBeLessThan(3)
  })
})

describe('hooks', () => {
  const jump = '-j PVENAT-PREROUTING'
  const at = '4 nat PREROUTING'

  test.each([
    ['missing', []],
    ['not first', ['-j FOREIGN', jump]],
    ['there twice', [jump, '-j FOREIGN', jump]],
  ])('one that is %s is put first, once, and foreign rules stay', (_, rules) => {
    const ruleset = rulesetOf('table-01-ssh-macro')
    const kernel = new FakeKernel()
    put(kernel, ruleset)
    kernel.chains.set(at, [...rules])
    const plan = put(kernel, ruleset)
    expect(kernel.chains.get(at)).toEqual([jump, ...rules.filter((rule) => rule !== jump)])
    expect(plan.changes.map(({ kind }) => kind)).toEqual(['hook'])
    expect(isEmpty(makePlan(ruleset, kernel.read()))).toBe(true)
  })
})

test('ways within a tree, which have no comment, are kept as they are sent', () => {
  const forwards = Array.from(
    { length: 100 },
    (_, i) => `IN ACCEPT -dest 10.10.10.105 -p tcp -dport 22 # NAT ${3000 + i}`,
  )
  const text = `[OPTIONS]\nenable: 1\n[RULES]\n${forwards.join('\n')}\n`
  const { ruleset } = compile(lookAt(new Map([['firewall/cluster.fw', text]])))
  const kernel = new FakeKernel()
  put(kernel, ruleset)
  const at = '4 nat PVENAT-DNAT'
  const wanted = [...(kernel.chains.get(at) ?? [])]
  const way = wanted.findIndex((line) => / -g /.test(line) && !line.includes('comment'))
  for (const other of ['-p tcp -m tcp --dport 1:9 -g PVENAT-OUTPUT', `-s 10.0.0.0/8 ${wanted[way]}`]) {
    kernel.chains.set(
      at,
      wanted.map((line, i) => (i === way ? other : line)),
    )
    expect(put(kernel, ruleset).changes.map(({ what }) => what)).toEqual(['chain PVENAT-DNAT'])
    expect(kernel.chains.get(at)).toEqual(wanted)
    expect(isEmpty(makePlan(ruleset, kernel.read()))).toBe(true)
  }
})

test.each([
  ['a rule too many', (rules: string[]) => rules.push('-j ACCEPT')],
  ['a rule too few', (rules: string[]) => rules.pop()],
  ['rules in another order', (rules: string[]) => rules.reverse()],
  ['a rule in front', (rules: string[]) => rules.unshift('-j DROP')],
])('%s in an own chain is mended', (_, spoil) => {
  const ruleset = rulesetOf('table-02-same-ports')
  const kernel = new FakeKernel()
  put(kernel, ruleset)
  const wanted = [...(kernel.chains.get('4 nat PVENAT-DNAT') ?? [])]
  spoil(kernel.chains.get('4 nat PVENAT-DNAT') as string[])
  expect(put(kernel, ruleset).changes.map(({ what }) => what)).toEqual(['chain PVENAT-DNAT'])
  expect(kernel.chains.get('4 nat PVENAT-DNAT')).toEqual(wanted)
})

test('a rule keeps what it has counted when its chain is written anew, a new rule begins at nothing', () => {
  const kernel = new FakeKernel()
  const ruleset = rulesetOf('table-02-same-ports')
  put(kernel, ruleset)
  // As iptables-save has it: [1:60] before each rule of the fake.
  const chain = ruleset.chains[4].find(({ name }) => name === 'PVENAT-DNAT')
  const [first, ...others] = chain?.rules ?? []
  expect(others.length).toBeGreaterThan(0)
  if (!chain || !first) return
  const fresh = { ...first, ports: [7777, 7777] as const }
  const changed = {
    ...ruleset,
    chains: {
      4: ruleset.chains[4].map((one) =>
        one === chain ? written({ ...chain, rules: [fresh, ...others] }, 4) : one,
      ),
      6: ruleset.chains[6],
    },
  }
  const lines = makePlan(changed, kernel.read())
    .tables[4].split('\n')
    .filter((line) => line.includes('-A PVENAT-DNAT'))
  expect(lines.map((line) => line.startsWith('[1:60] -A'))).toEqual([false, ...others.map(() => true)])
})

test('a rule that moves to another chain takes its counters along, once', () => {
  const kernel = new FakeKernel()
  const ruleset = rulesetOf('table-02-same-ports')
  put(kernel, ruleset)
  const chain = ruleset.chains[4].find(({ name }) => name === 'PVENAT-DNAT')
  if (!chain) expect.fail('no chain')
  const parts = ['PVENAT-DNAT-T-0-4095', 'PVENAT-203.0.113.7'].map((name) => written({ ...chain, name }, 4))
  const moved = ruleset.chains[4].flatMap((one) => (one === chain ? parts : [one]))
  const lines = makePlan({ ...ruleset, chains: { ...ruleset.chains, 4: moved } }, kernel.read())
    .tables[4].split('\n')
    .filter((line) => / -j DNAT /.test(line) && !line.includes('PVENAT-PREROUTING'))
  const counted = lines.filter((line) => line.startsWith('[1:60] -A PVENAT-DNAT-T-0-4095'))
  expect(counted).toHaveLength(chain.rules.length)
  expect(lines).toHaveLength(2 * chain.rules.length)
  expect(lines.filter((line) => line.startsWith('['))).toEqual(counted)
})
