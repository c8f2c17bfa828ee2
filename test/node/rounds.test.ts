// Rounds of the reader: half of a change is not told, whoever asks meanwhile.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Rounds } from '../../src/node/rounds.ts'
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
