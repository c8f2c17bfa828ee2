// Rules that the kernel refuses are found in a bounded number of goes, and cost no other scope.
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { CommandFailed, NOT_STARTED } from '../../src/node/exec.ts'
import type { Part, Trial } from '../../src/node/preflight.ts'
import { findRefused } from '../../src/node/find-refused.ts'
import type { Ruleset } from '../../src/ruleset/ruleset.ts'
import { SELF_HAIRPIN } from '../../src/ruleset/self-hairpin.ts'
import { lookAt, plainGuest } from '../hostile/node.ts'

const on = (rules: readonly string[]) => `[OPTIONS]\nenable: 1\n[RULES]\n${rules.join('\n')}\n`
const times = (count: number, line: (i: number) => string) => Array.from({ length: count }, (_, i) => line(i))

/** What the files of guests (105, 106, ...) come to. */
function compiled(...guests: readonly string[][]) {
  const cluster = '[OPTIONS]\nenable: 1\n'
  const files = guests.map((rules, i) => plainGuest(105 + i, on(rules)))
  return compile(lookAt({ cluster, host: '', guests: files }))
}

/** Takes all but some lines; stops and names a line as the real ones do, of a table that of COMMIT. */
class FakeTrial implements Trial {
  goes = 0
  constructor(
    private readonly isBad: (line: string, part: Part) => boolean,
    private readonly hasIpset = true,
  ) {}

  restore = (part: Part, text: string): Promise<CommandFailed | undefined> => {
    this.goes++
    const lines = text.split('\n')
    const failed = (code: number, stderr: string) =>
      Promise.resolve(new CommandFailed(String(part), { code, stdout: '', stderr }, text))
    if (part === 'ipset' && !this.hasIpset) return failed(NOT_STARTED, 'ipset is not installed')
    const at = lines.findIndex((line) => this.isBad(line, part))
    if (at < 0) return Promise.resolve(undefined)
    const named = part === 'ipset' ? at : lines.indexOf('COMMIT', at)
    return failed(1, part === 'ipset' ? `Error in line ${named + 1}: no` : `line ${named + 1} failed`)
  }
  end = () => undefined
}

/** A scope counts once for its sets and once for each family. */
const bound = (kinds: number, scopes: number) => kinds + 10 * scopes + 6
const find = async (ruleset: Ruleset, isBad: (line: string, part: Part) => boolean, hasIpset = true) => {
  const trial = new FakeTrial(isBad, hasIpset)
  return { refused: await findRefused(trial, ruleset), goes: trial.goes }
}

const GOOD = ['IN SSH(ACCEPT) # NAT 2022', 'OUT ACCEPT # NAT']

test.each([17, 100, 1000])(
  '%i rules of a protocol that is missing: all of them and no other',
  async (count) => {
    const rules = times(count, (i) => `IN ACCEPT -p sctp -dport 5 # NAT ${20_000 + i}`)
    const guests = times(Math.ceil(count / 200), () => '').map((_, i) => [
      ...GOOD.map((rule) => rule.replace('2022', String(2022 + i))),
      ...rules.slice(200 * i, 200 * i + 200),
    ])
    const { ruleset, translation } = compiled(...guests)
    const { refused, goes } = await find(ruleset, (line) => line.includes('-m sctp'))
    const bad = translation.rules.filter(
      (rule) => rule.comment.startsWith('NAT 2') && rule.forwards[0]?.proto === 'sctp',
    )
    expect(bad).toHaveLength(count)
    expect([...refused.keys()].sort()).toEqual(bad.map(({ id }) => id).sort())
    expect(goes).toBeLessThanOrEqual(bound(2, 0))
  },
)

test.each([17, 100, 1000])(
  '%i rules that are refused for their values cost their scopes and no other',
  async (count) => {
    const bad = times(count, (i) => `IN ACCEPT -p tcp -dport 666 # NAT ${20_000 + i}`)
    const guests = times(Math.ceil(count / 200), () => '').map((_, i) => bad.slice(200 * i, 200 * i + 200))
    const { ruleset, translation } = compiled(...guests, GOOD)
    const { refused, goes } = await find(ruleset, (line) => line.includes(':666'))
    const last = String(105 + guests.length)
    const others = translation.rules.filter(({ id }) => !id.startsWith(last)).map(({ id }) => id)
    expect([...refused.keys()].sort()).toEqual(others.sort())
    expect(goes).toBeLessThanOrEqual(bound(0, 2 * guests.length))
  },
)

test('a few refused rules cost themselves alone', async () => {
  const { ruleset, translation } = compiled(
    [...GOOD, 'IN ACCEPT -p tcp -dport 666 # NAT 3666', 'IN ACCEPT -p udp -dport 666 # NAT 4666'],
    GOOD.slice(1),
  )
  const { refused, goes } = await find(ruleset, (line) => line.includes(':666'))
  const bad = translation.rules.filter(({ comment }) => comment.endsWith('666')).map(({ id }) => id)
  expect(bad).toHaveLength(2)
  expect([...refused.keys()].sort()).toEqual(bad.sort())
  expect(refused.get(bad[0] ?? '')).toBe('it does not say why')
  expect(goes).toBeLessThanOrEqual(bound(0, 2))
})

test('a set that is refused costs the rules that use it', async () => {
  const list = (i: number) =>
    `IN ACCEPT -source 192.0.2.${i},198.51.100.${i} -p tcp -dport 80 # NAT ${8000 + i}`
  const { ruleset, translation } = compiled([...GOOD, list(1), list(2)], [list(3)])
  const { refused } = await find(ruleset, (line) => line.includes(' 192.0.2.2'))
  const bad = translation.rules.filter(({ comment }) => comment.endsWith('8002')).map(({ id }) => id)
  expect([...refused.keys()]).toEqual(bad)
})

test('without ipset rules without sets go on, and guests do not reach themselves', async () => {
  const list = 'IN ACCEPT -source 192.0.2.1,198.51.100.1 -p tcp -dport 80 # NAT 8001'
  const { ruleset, translation } = compiled([...GOOD, list], GOOD.slice(1))
  const { refused, goes } = await find(ruleset, () => false, false)
  const bad = translation.rules.filter(({ comment }) => comment.endsWith('8001')).map(({ id }) => id)
  expect([...refused.keys()].sort()).toEqual([...bad, SELF_HAIRPIN].sort())
  expect(refused.get(SELF_HAIRPIN)).toBe('ipset is not installed')
  expect(goes).toBeLessThanOrEqual(bound(4, 0))
})

test('an answer that names no line of a rule is thrown: nothing is taken for refused without a reason', async () => {
  const { ruleset } = compiled(GOOD)
  const trial: Trial = {
    restore: (part, text) =>
      Promise.resolve(new CommandFailed(String(part), { code: 1, stdout: '', stderr: 'no memory' }, text)),
    end: () => undefined,
  }
  await expect(findRefused(trial, ruleset)).rejects.toThrow('no memory')
})
