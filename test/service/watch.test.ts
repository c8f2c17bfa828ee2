// Events of files: each save is hinted at, from the folder alone, and half a save is not.
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { watchFolders } from '../../src/node/reader.ts'
import { watchFiles, type Watch } from '../../src/service/watch.ts'

let root: string
let watch: Watch
let renew: ReturnType<typeof watchFolders>
const hint = vi.fn()

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pvenat-watch-'))
  for (const folder of ['firewall', 'nodes/pve1/qemu-server'])
    await mkdir(join(root, folder), { recursive: true })
  await writeFile(join(root, 'firewall/105.fw'), 'before')
  watch = watchFiles(join(root, 'own.conf'), hint)
  renew = watchFolders(root, 'pve1', hint)
  await renew()
  // Each is there from the first event that it tells.
  for (const file of ['own.conf', 'firewall/1.fw', 'nodes/pve1/qemu-server/1.conf']) {
    await quiet()
    await vi.waitFor(async () => {
      await writeFile(join(root, file), '')
      expect(hint).toHaveBeenCalled()
    })
  }
  await quiet()
})
afterEach(async () => {
  await watch.close()
  await rm(root, { recursive: true })
})

/** Until no event has come for a while. */
async function quiet(): Promise<void> {
  for (let before = -1; before !== hint.mock.calls.length;) {
    before = hint.mock.calls.length
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  hint.mockClear()
}

test.each([
  ['a guest’s firewall written in place', 'firewall/105.fw'],
  ['a new one', 'firewall/106.fw'],
  ['a guest’s config', 'nodes/pve1/qemu-server/105.conf'],
  ['the host’s firewall', 'nodes/pve1/host.fw'],
  ['the settings', 'own.conf'],
])('%s', async (_, file) => {
  await writeFile(join(root, file), 'after')
  await vi.waitFor(() => expect(hint).toHaveBeenCalled())
})

test('a save by rename is hinted at when it is whole', async () => {
  const temporary = join(root, 'firewall/105.fw.tmp.4711')
  await writeFile(temporary, 'after')
  await new Promise((resolve) => setTimeout(resolve, 150))
  expect(hint).not.toHaveBeenCalled()
  await rename(temporary, join(root, 'firewall/105.fw'))
  await vi.waitFor(() => expect(hint).toHaveBeenCalled())
})

test.each<[string, () => Promise<unknown>]>([
  ['renamed', () => rename(join(root, 'firewall'), join(root, 'before'))],
  // The new one may well have its number.
  ['removed', () => rm(join(root, 'firewall'), { recursive: true })],
])('a folder in the place of one that was %s is watched, and asked for', async (_, lose) => {
  await lose()
  await mkdir(join(root, 'firewall'))
  await quiet()
  await renew()
  expect(hint).toHaveBeenCalled()
  hint.mockClear()
  await writeFile(join(root, 'firewall/105.fw'), 'after')
  await vi.waitFor(() => expect(hint).toHaveBeenCalled())
})
