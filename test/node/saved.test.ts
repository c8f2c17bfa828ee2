// What was in force last is put back, whatever the disk takes.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { realKernel, type Kernel } from '../../src/node/kernel.ts'
import { putBack, type Saved } from '../../src/node/saved.ts'
import { NOTHING_INSTALLED } from '../../src/ruleset/installed.ts'

const FORWARDING = 'net/ipv4/ip_forward'
const ACCEPT_RA = 'net/ipv6/conf/vmbr0/accept_ra'
const saved: Saved = {
  version: 1,
  backend: 'nft',
  ruleset: { chains: { 4: [], 6: [] }, sets: [] },
  loop: [],
  sysctls: [
    [FORWARDING, '1'],
    [ACCEPT_RA, '2'],
  ],
}

let dir: string
let values: Map<string, string>
let kernel: Kernel
let told: string[]
const tell = (message: string) => void told.push(message)
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pvenat-saved-'))
  values = new Map([
    [FORWARDING, '0'],
    [ACCEPT_RA, '0'],
  ])
  told = []
  kernel = {
    ...realKernel('nft', tell),
    read: () => Promise.resolve(NOTHING_INSTALLED),
    sysctl: (path) => Promise.resolve(values.get(path)),
    setSysctl: (path, value) => Promise.resolve(void values.set(path, value)),
  }
})
afterEach(() => rm(dir, { recursive: true }))

test('sysctls are switched, but for what the administrator chose, and their old values remembered', async () => {
  expect(await putBack(saved, kernel, dir, tell)).toMatchObject({ sysctls: [FORWARDING] })
  expect(Object.fromEntries(values)).toEqual({ [FORWARDING]: '1', [ACCEPT_RA]: '0' })
  expect(JSON.parse(await readFile(join(dir, 'state.json'), 'utf8'))).toMatchObject({
    sysctls: { [FORWARDING]: '0' },
  })
  expect(told).toEqual([])
})

test('a disk that takes nothing keeps no node from forwarding after a boot', async () => {
  // In the place of the file that is written first.
  await mkdir(join(dir, `.state.json.${process.pid}`))
  expect(await putBack(saved, kernel, dir, tell)).toMatchObject({ sysctls: [FORWARDING] })
  expect(values.get(FORWARDING)).toBe('1')
  expect(told).toEqual([expect.stringContaining(`cannot write ${dir}/state.json: EISDIR`)])
})

test('a state that makes no sense is told before it is overwritten', async () => {
  await writeFile(join(dir, 'state.json'), '{"version":')
  await putBack(saved, kernel, dir, tell)
  expect(told).toEqual([`${dir}/state.json makes no sense; the old values of sysctls are lost`])
})
