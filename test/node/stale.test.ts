// A file of one guest that cannot be read costs that guest only, and nothing of it as long as it was read once before.
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readPve } from '../../src/node/rounds.ts'
import { treeOf } from '../../src/node/tree.ts'
import type { Tree } from '../../src/read.ts'
import { copyTree, node1Tree, removeTree } from '../lab/tree.ts'

const FW = 'firewall/108.fw'
const CONF = 'nodes/pve1/lxc/108.conf'

const readTree = async (pveDir: string, node: string, before?: Tree): Promise<Tree> =>
  treeOf(await readPve(pveDir, node), pveDir, node, before)

let dir: string
beforeEach(async () => (dir = await copyTree(node1Tree)))
afterEach(() => removeTree(dir))

const TROUBLES: Record<string, (path: string) => Promise<unknown>> = {
  'a folder': (path) => mkdir(path),
  'a link to itself': (path) => symlink(path, path),
  'a link to a secret': (path) => symlink('/etc/shadow', path),
  'a pipe': (path) => Promise.resolve(execFileSync('mkfifo', [path])),
  'too large': (path) => writeFile(path, 'x'.repeat(5 * 2 ** 20)),
}
const each = Object.entries(TROUBLES).flatMap(([name, make]) =>
  [FW, CONF].map((file) => [file, name, make] as const),
)

test.each(each)('%s is %s', async (file, _, make) => {
  const before = await readTree(dir, 'pve1')
  expect(before.stale).toEqual([])
  await rm(join(dir, file))
  await make(join(dir, file))
  await expect(readTree(dir, 'pve1')).rejects.toThrow(file)
  await writeFile(join(dir, 'firewall/105.fw'), '[RULES]\n')
  const tree = await readTree(dir, 'pve1', before)
  expect(tree.stale).toEqual([{ file, reason: expect.stringContaining(file) as string }])
  expect(tree.fw.get(FW)).toBe(before.fw.get(FW))
  expect(tree.guests).toEqual(before.guests)
  expect(tree.fw.get('firewall/105.fw')).toBe('[RULES]\n')
  // It stays so, look after look.
  expect(await readTree(dir, 'pve1', tree)).toEqual(tree)
})

test('a guest that is new and whose files cannot be read has no rules and no NIC', async () => {
  const { guests, fw, ...before } = await readTree(dir, 'pve1')
  fw.delete(FW)
  await rm(join(dir, FW))
  await mkdir(join(dir, FW))
  await rm(join(dir, CONF))
  await mkdir(join(dir, CONF))
  const tree = await readTree(dir, 'pve1', {
    ...before,
    fw,
    guests: guests.filter(({ vmid }) => vmid !== 108),
  })
  expect(tree.stale?.map((one) => one.file)).toEqual([FW, CONF])
  expect(tree.fw.has(FW)).toBe(false)
  expect(tree.guests.find(({ vmid }) => vmid === 108)).toMatchObject({ config: '' })
})

test.each(['firewall/cluster.fw', 'nodes/pve1/host.fw', '.vmlist'])('%s concerns everybody', async (file) => {
  const before = await readTree(dir, 'pve1')
  await rm(join(dir, file), { force: true })
  await mkdir(join(dir, file))
  await expect(readTree(dir, 'pve1', before)).rejects.toThrow(`${file}: it is a folder`)
})
