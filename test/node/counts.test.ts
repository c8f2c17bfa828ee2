// One ipset is asked again and again; whatever is wrong with it, the count is right all the same.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { makeSetCounts, type SetCounts } from '../../src/node/counts.ts'
import { hold, run } from '../../src/node/exec.ts'

vi.mock('../../src/node/exec.ts', () => ({ hold: vi.fn(), run: vi.fn() }))
const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const [held, ran] = [vi.mocked(hold), vi.mocked(run)]

const header = (name: string, entries: number): string =>
  `Name: ${name}\nType: hash:net\nReferences: 1\nNumber of entries: ${entries}\n`
const SETS = new Map([
  ['pvenat-a', 2],
  ['pvenat-b', 10_000],
])
const stop = vi.fn()

/** A program that greets with `greeting` and answers each line as `answer` says. */
function standIn(greeting: string, answer: (name: string) => string): void {
  held.mockImplementation((_file, _args, onOutput = () => undefined) => {
    onOutput(greeting)
    const write = (text: string): void =>
      text.split('\n').forEach((line) => line !== '' && onOutput(answer(line.split(' ')[2] ?? '')))
    return Promise.resolve({ pid: 1, ended: new Promise(() => undefined), write, stop })
  })
}
const good = (name: string): string => `${header(name, SETS.get(name) ?? 0)}ipset> `

/** What is counted by the time that any program has had its time to answer. */
async function counted(counts: SetCounts): Promise<Map<string, number> | undefined> {
  const found = counts.count([...SETS.keys()])
  await vi.advanceTimersByTimeAsync(5000)
  return found
}

afterEach(() => void vi.useRealTimers())
beforeEach(() => {
  vi.resetAllMocks()
  vi.useFakeTimers()
  const stdout = [...SETS].map(([name, count]) => header(name, count)).join('')
  ran.mockResolvedValue({ code: 0, stdout, stderr: '' })
})

test('it is started once, and asked', async () => {
  standIn('ipset> ', good)
  const counts = makeSetCounts()
  for (let i = 0; i < 3; i++) expect(await counted(counts)).toEqual(SETS)
  expect([held.mock.calls.length, ran.mock.calls.length]).toEqual([1, 0])
})

test('no sets, no question', async () => {
  expect(await makeSetCounts().count([])).toEqual(new Map())
  expect(held).not.toHaveBeenCalled()
})

test.each<[string, () => void, starts: number]>([
  ['it cannot be started', () => held.mockResolvedValue(undefined), 1],
  ['it ends its answers otherwise', () => standIn('', (name) => header(name, 1)), 1],
  ['it fails from one question on', () => standIn('ipset> ', () => 'ipset> '), 2],
  ['it goes silent', () => standIn('ipset> ', () => ''), 2],
])('%s: another ipset tells, each time', async (_, make, starts) => {
  make()
  const counts = makeSetCounts()
  for (let i = 0; i < 2; i++) expect(await counted(counts)).toEqual(SETS)
  expect([held.mock.calls.length, ran.mock.calls.length]).toEqual([starts, 2])
})

test('one that is missing', async () => {
  standIn('ipset> ', (name) => (name === 'pvenat-a' ? good(name) : 'ipset> '))
  ran.mockResolvedValue({ code: 1, stdout: '', stderr: 'The set with the given name does not exist' })
  expect(await counted(makeSetCounts())).toBeUndefined()
  expect(stop).toHaveBeenCalled()
})

test('one that dies is noticed at once, and its place taken', async () => {
  standIn('ipset> ', good)
  let die = (): void => undefined
  const ended = new Promise<void>((resolve) => (die = resolve))
  held.mockImplementationOnce((_file, _args, onOutput = () => undefined) => {
    onOutput('ipset> ')
    return Promise.resolve({ pid: 2, ended, write: die, stop })
  })
  const counts = makeSetCounts()
  const found = counts.count([...SETS.keys()])
  await vi.advanceTimersByTimeAsync(1)
  expect(await found).toEqual(SETS)
  expect(await counted(counts)).toEqual(SETS)
  expect([held.mock.calls.length, ran.mock.calls.length]).toEqual([2, 1])
})

test('closed while it starts, it does not stay, and nobody is asked', async () => {
  standIn('ipset> ', good)
  const start = held.getMockImplementation() as typeof hold
  held.mockImplementationOnce(async (...how) => (await delay(1), start(...how)))
  const counts = makeSetCounts()
  const found = counts.count([...SETS.keys()])
  await vi.advanceTimersByTimeAsync(0)
  counts.close()
  await vi.advanceTimersByTimeAsync(1)
  expect(await found).toBeUndefined()
  expect(stop).toHaveBeenCalledTimes(1)
  expect(ran).not.toHaveBeenCalled()
})
