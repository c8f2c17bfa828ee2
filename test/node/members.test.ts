// One ipset is asked again and again; whatever is wrong with it, what own sets hold is known all the same.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { hold, run } from '../../src/node/exec.ts'
import { makeMembers, type Members } from '../../src/node/members.ts'
import { parseSets } from '../../src/ruleset/inforce.ts'

vi.mock('../../src/node/exec.ts', () => ({ hold: vi.fn(), run: vi.fn() }))
const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const [held, ran] = [vi.mocked(hold), vi.mocked(run)]

const PROMPT = 'ipset> '
const WANTED = [
  'create pvenat-a hash:net family inet',
  'add pvenat-a 192.0.2.0/24',
  'add pvenat-a 198.51.100.7',
  'create pvenat-b hash:ip,port family inet',
  'add pvenat-b 10.0.0.1,tcp:80',
]
const SETS = parseSets(WANTED.join('\n'))
const stop = vi.fn()
/** What the kernel has, as `ipset save` tells. */
let kernel: readonly string[]

/** What ipset says to a line. */
function told(line: string): string {
  const name = line.split(' ').at(-1) ?? ''
  const own = kernel.filter((one) => one.split(' ')[1] === name)
  if (line.startsWith('save ')) return own.map((one) => `${one}\n`).join('')
  return own.length === 0
    ? ''
    : `Name: ${name}\nType: hash:net\nReferences: 1\nNumber of entries: ${own.length - 1}\n`
}
const good = (line: string): string => told(line) + PROMPT

/** A program that greets with `greeting` and answers each line as `answer` says; as the real one, it lists only once it has been asked for a list. */
function standIn(greeting: string, answer: (line: string) => string): void {
  held.mockImplementation((_file, _args, onOutput = () => undefined) => {
    onOutput(greeting)
    let lists = false
    const write = (text: string): void =>
      text.split('\n').forEach((line) => {
        lists ||= line.startsWith('list ')
        if (line !== '') onOutput(answer(lists ? line.replace('save', 'list -t') : line))
      })
    return Promise.resolve({ pid: 1, ended: new Promise(() => undefined), write, stop })
  })
}

/** Whether others are seen by the time that any program has had its time to answer. */
async function seen(members: Members, sets = SETS): Promise<boolean> {
  const areOther = members.areOther(sets)
  await vi.advanceTimersByTimeAsync(5000)
  return areOther
}

afterEach(() => void vi.useRealTimers())
beforeEach(() => {
  vi.resetAllMocks()
  vi.useFakeTimers()
  kernel = WANTED
  ran.mockImplementation((_file, _args, input = '') => {
    const answers = input.split('\n').map((line) => (line === '' ? '' : told(line)))
    const code = answers.filter((answer) => answer !== '').length < SETS.size ? 1 : 0
    return Promise.resolve({ code, stdout: answers.join(''), stderr: '' })
  })
})

test('it is started once, and asked', async () => {
  standIn(PROMPT, good)
  const members = makeMembers()
  for (let i = 0; i < 3; i++) expect(await seen(members)).toBe(false)
  expect([held.mock.calls.length, ran.mock.calls.length]).toEqual([1, 0])
})

test('its answers may come in pieces', async () => {
  standIn(PROMPT, good)
  const start = held.getMockImplementation() as typeof hold
  held.mockImplementation((file, args, onOutput = () => undefined) =>
    start(file, args, (text) => [...text].forEach(onOutput)),
  )
  expect(await seen(makeMembers())).toBe(false)
  expect(ran).not.toHaveBeenCalled()
})

test('no sets, no question', async () => {
  expect(await makeMembers().areOther(new Map())).toBe(false)
  expect(held).not.toHaveBeenCalled()
})

const removed = WANTED.filter((line) => line !== 'add pvenat-a 198.51.100.7')
const exchanged = [...removed, 'add pvenat-a 198.51.100.8']

test.each([
  ['deleted', removed],
  ['put in', [...WANTED, 'add pvenat-b 10.0.0.1,udp:80']],
  ['exchanged', exchanged],
])('a member that somebody has %s is seen, and so is that all is well again', async (_, now) => {
  standIn(PROMPT, good)
  const members = makeMembers()
  kernel = now
  expect(await seen(members)).toBe(true)
  kernel = WANTED
  expect(await seen(members)).toBe(false)
})

test('the more members there are, the less often they are read; how many there are is asked each time', async () => {
  standIn(PROMPT, good)
  const many = Array.from({ length: 3500 }, (_, i) => `add pvenat-b 10.1.${i >> 8}.${i % 256},tcp:80`)
  const sets = parseSets([...WANTED, ...many].join('\n'))
  const members = makeMembers()
  kernel = [...WANTED, ...many]
  expect(await seen(members, sets)).toBe(false)
  kernel = [...exchanged, ...many]
  expect(await seen(members, sets)).toBe(false)
  kernel = [...removed, ...many]
  expect(await seen(members, sets)).toBe(true)
  kernel = [...exchanged, ...many]
  expect(await seen(members, sets)).toBe(false)
  expect(await seen(members, sets)).toBe(true)
  expect([held.mock.calls.length, ran.mock.calls.length]).toEqual([1, 2])
})

test.each<[string, () => void, starts: number]>([
  ['it cannot be started', () => held.mockResolvedValue(undefined), 1],
  ['it ends its answers otherwise', () => standIn('', told), 1],
  ['it fails from one question on', () => standIn(PROMPT, () => PROMPT), 2],
  ['it goes silent', () => standIn(PROMPT, () => ''), 2],
])('%s: another ipset tells, to each question', async (_, make, starts) => {
  make()
  const members = makeMembers()
  expect(await seen(members)).toBe(false)
  kernel = removed
  expect(await seen(members)).toBe(true)
  expect([held.mock.calls.length, ran.mock.calls.length]).toEqual([starts, 2])
})

test('one that is missing', async () => {
  standIn(PROMPT, good)
  kernel = WANTED.filter((line) => !line.includes('pvenat-b'))
  expect(await seen(makeMembers())).toBe(true)
  expect(stop).toHaveBeenCalled()
})

test('one that dies is noticed at once, and its place taken', async () => {
  standIn(PROMPT, good)
  let die = (): void => undefined
  const ended = new Promise<void>((resolve) => (die = resolve))
  held.mockImplementationOnce((_file, _args, onOutput = () => undefined) => {
    onOutput(PROMPT)
    return Promise.resolve({ pid: 2, ended, write: die, stop })
  })
  const members = makeMembers()
  const found = members.areOther(SETS)
  await vi.advanceTimersByTimeAsync(1)
  expect(await found).toBe(false)
  expect(await seen(members)).toBe(false)
  expect([held.mock.calls.length, ran.mock.calls.length]).toEqual([2, 1])
})

test('closed while it starts, it does not stay, and nobody is asked', async () => {
  standIn(PROMPT, good)
  const start = held.getMockImplementation() as typeof hold
  held.mockImplementationOnce(async (...how) => (await delay(1), start(...how)))
  const members = makeMembers()
  const found = members.areOther(SETS)
  await vi.advanceTimersByTimeAsync(0)
  members.close()
  await vi.advanceTimersByTimeAsync(1)
  expect(await found).toBe(false)
  expect(stop).toHaveBeenCalledTimes(1)
  expect(ran).not.toHaveBeenCalled()
})
