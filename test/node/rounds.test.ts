// Rounds of the reader: half of a change is not told, whoever asks meanwhile.
import { lstatSync } from 'node:fs'
import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { stampOf } from '../../src/node/files.ts'
import { READER_LANES, Rounds } from '../../src/node/rounds.ts'
import { startStatThread } from '../../src/node/stat-thread.ts'
import { copyTree, node1Tree, removeTree } from '../lab/tree.ts'

let dir: string
let rounds: Rounds
beforeEach(async () => {
  dir = await copyTree(node1Tree)
  rounds = new Rounds(dir, 'pve1', () => undefined)
  await rounds.next(true)
})
afterEach(() => removeTree(dir))

const list = () => join(dir, '.vmlist')
const changed = async () => (await rounds.next(true)).files

test.each([108, 107, 105])('guest %s that is not in the list for a moment is not gone', async (vmid) => {
  const before = await readFile(list(), 'utf8')
  await writeFile(list(), before.replace(new RegExp(`"${vmid}":\\{[^}]*\\},`), ''))
  const back = delay(200).then(() => writeFile(list(), before))
  const [files] = await Promise.all([changed(), back])
  expect(files).toEqual([])
})

test('a guest that stays away is gone, with its files, and takes half a second', async () => {
  const before = await readFile(list(), 'utf8')
  await writeFile(list(), before.replace(/"108":\{[^}]*\},/, ''))
  const start = performance.now()
  const gone = new Map(await changed())
  expect(performance.now() - start).toBeGreaterThan(400)
  expect(gone.get('firewall/108.fw')).toBeNull()
  expect(gone.get('nodes/pve1/lxc/108.conf')).toBeNull()
})

test('a guest that is another node’s now is told at once', async () => {
  const before = await readFile(list(), 'utf8')
  await writeFile(list(), before.replace('"108":{"node":"pve1"', '"108":{"node":"pve2"'))
  const start = performance.now()
  expect(new Map(await changed()).get('firewall/108.fw')).toBeNull()
  expect(performance.now() - start).toBeLessThan(400)
})

test('configs, which most rounds pass over, do not count for the pause between rounds', async () => {
  const { asked } = rounds
  await rounds.next(false)
  expect(rounds.asked).toBe(asked)
  await rounds.next(true)
  expect(rounds.asked).toBe(asked)
})

/** By path: files are told in the order in which they answer. */
const told = async (one: Rounds) => new Map((await one.next(true)).files)

test('the thread tells of all files what each tells by itself, and an edit', async () => {
  const inOneGo = new Rounds(dir, 'pve1', () => undefined, READER_LANES, startStatThread())
  const byItself = new Rounds(dir, 'pve1', () => undefined)
  expect(await told(inOneGo)).toEqual(await told(byItself))
  await writeFile(join(dir, 'firewall/108.fw'), '[OPTIONS]\nenable: 0\n')
  await rm(join(dir, 'firewall/107.fw'))
  const now = await told(inOneGo)
  expect(now).toEqual(await told(byItself))
  expect([...now.keys()].sort()).toEqual(['firewall/107.fw', 'firewall/108.fw'])
})

test('a thread that hangs is waited for once, and its files are asked about by themselves', async () => {
  let questions = 0
  const hanging = () => new Promise<never>(() => void questions++)
  const alone = new Rounds(dir, 'pve1', () => undefined, READER_LANES, hanging)
  expect(await told(alone)).toEqual(await told(new Rounds(dir, 'pve1', () => undefined)))
  await writeFile(join(dir, 'firewall/108.fw'), '[OPTIONS]\nenable: 0\n')
  expect((await alone.next(false)).files.map(([path]) => path)).toEqual(['firewall/108.fw'])
  expect(questions).toBe(1)
})

test('the thread makes the stamps that a file has by itself', async () => {
  const file = join(dir, 'firewall/108.fw')
  const stamps = await startStatThread()([file, join(dir, 'nothing'), dir])
  expect(stamps.split('\n')).toEqual([stampOf(lstatSync(file)), stampOf(undefined), ''])
})

test('after a time without changes two saves of one size in a second are told, a config, and a folder', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  try {
    const thread = startStatThread()
    // As pmxcfs has it: no time but that of the save, in whole seconds.
    const stampAll = async (paths: readonly string[]): Promise<string> =>
      (await thread(paths)).replace(/^(\S+ \S+ \S+) \S+/gm, '$1')
    const alone = new Rounds(dir, 'pve1', () => undefined, READER_LANES, stampAll)
    const later = async (ms: number): Promise<[string, unknown][]> => {
      vi.advanceTimersByTime(ms)
      return (await alone.next(false)).files
    }
    const rest = async (): Promise<void> => {
      for (let i = 0; i < 4; i++) await later(3100)
    }
    await alone.next(true)
    const file = join(dir, 'firewall/108.fw')
    for (const [savedAt, ...texts] of [
      [1_760_000_000, 'one', 'two'],
      [1_760_000_020, 'six', 'ten'],
    ] as const) {
      await rest()
      expect(await later(1000)).toEqual([])
      for (const text of texts) {
        await writeFile(file, text)
        await utimes(file, savedAt, savedAt)
        expect(await later(400)).toEqual([['firewall/108.fw', text]])
      }
    }
    await rest()
    const config = join(dir, 'nodes/pve1/lxc/108.conf')
    await writeFile(config, 'hostname: other\n')
    expect(await later(10_100)).toEqual([['nodes/pve1/lxc/108.conf', 'hostname: other\n']])
    await rm(file)
    await mkdir(file)
    const reason = `cannot read ${file}: it is a folder`
    expect(await later(1000)).toEqual([['firewall/108.fw', { reason, isOfFile: true }]])
    expect(await later(1000)).toEqual([])
    await rm(file, { recursive: true })
    expect(await later(1000)).toEqual([['firewall/108.fw', null]])
  } finally {
    vi.useRealTimers()
  }
})
