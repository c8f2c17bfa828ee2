// Whether own sets hold what they should: all members now and then, their number each time.
import { beforeEach, expect, test, vi } from 'vitest'
import { run } from '../../src/node/exec.ts'
import { makeMembersCheck } from '../../src/node/members.ts'
import { parseSets } from '../../src/ruleset/installed.ts'

vi.mock('../../src/node/exec.ts', () => ({ run: vi.fn() }))
const ran = vi.mocked(run)

const WANTED = [
  'create pvenat-a hash:net family inet',
  'add pvenat-a 192.0.2.0/24',
  'add pvenat-a 198.51.100.7',
  'create pvenat-b hash:ip,port family inet',
  'add pvenat-b 10.0.0.1,tcp:80',
]
const REMOVED = WANTED.filter((line) => line !== 'add pvenat-a 198.51.100.7')
const EXCHANGED = [...REMOVED, 'add pvenat-a 198.51.100.8']

/** What the kernel has, as `ipset save` tells. */
let kernel: readonly string[]
let now: number
beforeEach(() => {
  kernel = WANTED
  now = 0
  ran.mockReset()
  ran.mockImplementation((_file, _args, input = '') => {
    const stdout = input.split('\n').map(told).join('')
    return Promise.resolve({ code: 0, stdout, stderr: '' })
  })
})

/** What ipset says to a line. */
function told(line: string): string {
  const name = line.split(' ').at(-1) ?? ''
  const own = kernel.filter((one) => one.split(' ')[1] === name)
  if (line.startsWith('save ')) return own.map((one) => `${one}\n`).join('')
  return own.length === 0
    ? ''
    : `Name: ${name}\nType: hash:net\nReferences: 1\nNumber of entries: ${own.length - 1}\n`
}

test('no sets, no question', async () => {
  expect(await makeMembersCheck()(new Map())).toBe(false)
  expect(ran).not.toHaveBeenCalled()
})

test.each([
  ['a member is deleted', REMOVED],
  ['a member is put in', [...WANTED, 'add pvenat-b 10.0.0.1,udp:80']],
  ['a member is exchanged', EXCHANGED],
  ['a set is missing', WANTED.filter((line) => !line.includes('pvenat-b'))],
])('%s: seen each second, and so is the end of it', async (_, changed) => {
  const sets = parseSets(WANTED.join('\n'))
  const areOther = makeMembersCheck(() => now)
  for (const [lines, isOther] of [
    [WANTED, false],
    [changed, true],
    [WANTED, false],
  ] as const) {
    now += 1000
    kernel = lines
    expect(await areOther(sets)).toBe(isOther)
  }
})

test('many members are read seldom, and counted each time', async () => {
  const many = Array.from({ length: 3500 }, (_, i) => `add pvenat-b 10.1.${i >> 8}.${i % 256},tcp:80`)
  const sets = parseSets([...WANTED, ...many].join('\n'))
  const areOther = makeMembersCheck(() => now)
  const after = async (ms: number, lines: readonly string[]) => {
    now += ms
    kernel = [...lines, ...many]
    return areOther(sets)
  }
  expect(await after(0, WANTED)).toBe(false)
  expect(await after(1000, EXCHANGED)).toBe(false)
  expect(await after(1000, REMOVED)).toBe(true)
  expect(await after(20_000, EXCHANGED)).toBe(true)
})
