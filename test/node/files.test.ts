// Files are read again when they may have changed, and only then.
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { makeFiles } from '../../src/node/files.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pvenat-files-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const file = join(scratch, '105.fw')

let now = 0
let reads = 0
let files = makeFiles(() => now)
const read = async (): Promise<string> => {
  files.next()
  return files.read(file, () => {
    reads++
    return Promise.resolve(readFileSync(file, 'utf8'))
  })
}
/** As on pmxcfs: whole seconds. */
const save = (text: string, seconds = 1_760_000_000): void => {
  writeFileSync(file, text)
  utimesSync(file, seconds, seconds)
}

beforeEach(() => {
  rmSync(file, { recursive: true, force: true })
  files = makeFiles(() => now)
  reads = 0
})

test('a text is trusted once it was read well after the file began to look so', async () => {
  save('one')
  for (const ms of [0, 20, 2900, 3100]) {
    now = ms
    expect(await read()).toBe('one')
  }
  expect(reads).toBe(4)
  for (const ms of [3200, 60_000, 500_000]) {
    now = ms
    expect(await read()).toBe('one')
  }
  expect(reads).toBe(4)
})

test('a save of the same size in the same second is seen', async () => {
  save('one')
  now = 0
  await read()
  now = 900
  // In place: not even the inode differs; only ctime, which pmxcfs keeps like mtime.
  save('two')
  expect(await read()).toBe('two')
})

test.each<[string, () => void]>([
  ['another text', () => save('three')],
  ['another time', () => save('two', 1_760_000_001)],
  [
    'another file of the same size and time',
    () => {
      writeFileSync(`${file}.tmp.1`, 'two')
      utimesSync(`${file}.tmp.1`, 1_760_000_000, 1_760_000_000)
      renameSync(`${file}.tmp.1`, file)
    },
  ],
  ['another mode', () => chmodSync(file, 0o640)],
])('what is trusted is read again after %s', async (_, change) => {
  save('one', 1_760_000_000)
  for (now = 0; now <= 8000; now += 4000) await read()
  const before = reads
  change()
  expect(await read()).toBe(readFileSync(file, 'utf8'))
  expect(reads).toBe(before + 1)
})

test('a link, a folder, and a file that is gone are asked for each time', async () => {
  save('one')
  for (now = 0; now <= 8000; now += 4000) await read()
  for (const change of [() => symlinkSync('nowhere', file), () => mkdirSync(file), () => undefined]) {
    rmSync(file, { recursive: true, force: true })
    change()
    for (let i = 0; i < 3; i++, now += 4000) await expect(read()).rejects.toThrow()
  }
  save('one')
  expect(await read()).toBe('one')
})

test('nothing is trusted for ever, and what nobody asks for is forgotten', async () => {
  save('one')
  for (now = 0; now <= 8000; now += 4000) await read()
  const before = reads
  now += 700_000
  await read()
  expect(reads).toBe(before + 1)
  files.next()
  files.next()
  await read()
  expect(reads).toBe(before + 2)
})
