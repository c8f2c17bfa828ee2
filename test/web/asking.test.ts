// What the page's server asks the service, over the socket in the run folder.
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { answerLookers, type Lookers } from '../../src/service/lookers.ts'
import { makeRunFolder, type RunFolder } from '../../src/service/runfolder.ts'
import type { Outcome } from '../../src/pipeline.ts'
import type { Installed } from '../../src/ruleset/installed.ts'
import { askService, makeLooking, SOCKET, type NodeAnswer } from '../../src/node/asking.ts'
import { openFolder } from '../../src/node/published.ts'
import { waitFor } from '../lab/wait.ts'

let dir: string
let files: RunFolder
let lookers: Lookers
let reads = 0

const installed = {
  chains: { 4: { own: new Map() }, 6: { own: new Map() } },
  sets: new Map(),
} as unknown as Installed
/** A node with nothing but one guest, one reserved port and one listener. */
const outcome = {
  ruleset: { chains: { 4: [], 6: [] } },
  translation: { rules: [] },
  view: {
    network: { external: [] },
    guests: [{ guest: { vmid: 105, name: 'web', type: 'lxc', nics: [] } }],
    known: new Map(),
    blocks: new Map(),
    settings: { reserved: [{ proto: 'tcp', ports: [8006, 8006], holder: 'pveproxy' }] },
    listeners: [{ proto: 'udp', port: 53, inode: '1', holder: '' }],
  },
} as unknown as Outcome
const read = (): Promise<Installed> => {
  reads++
  return Promise.resolve(installed)
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pvenat-ask-'))
  reads = 0
  files = makeRunFolder(dir, expect.unreachable)
  lookers = answerLookers(dir, files)
  await waitFor(() => stat(join(dir, SOCKET)).then(() => true, () => false)) // prettier-ignore
})
afterEach(async () => {
  await lookers.close()
  await files.written()
  await rm(dir, { recursive: true })
})

test('counts are read while somebody looks, at most three seconds apart, and not after', async () => {
  lookers.passed({ outcome, readBack: installed }, read)
  const folder = openFolder(dir)
  const looking = makeLooking(dir)
  looking(true)
  await waitFor(() => reads >= 3, { timeoutMs: 9000 })
  await folder.refresh()
  expect(Date.now() - Date.parse(folder.published.counters?.at ?? '')).toBeLessThan(3000)
  looking(false)
  await waitFor(async () => {
    const before = reads
    await new Promise((resolve) => setTimeout(resolve, 2500))
    return reads === before
  }, { timeoutMs: 9000 }) // prettier-ignore
}, 30_000)

test('nobody looks: nothing is read', async () => {
  lookers.passed({ outcome, readBack: installed }, read)
  expect(await askService<NodeAnswer>(dir, 'node')).toMatchObject({ guests: [{ vmid: 105 }] })
  expect(reads).toBe(0)
})

test('the node is told with its guests and the ports that it keeps', async () => {
  expect(await askService(dir, 'node')).toBeNull()
  lookers.passed({ outcome, readBack: installed }, read)
  expect(await askService(dir, 'node')).toEqual({
    guests: [{ vmid: 105, name: 'web', type: 'lxc', addresses: [], free: null }],
    taken: [
      { proto: 'tcp', ports: [8006, 8006], holder: 'pveproxy' },
      { proto: 'udp', ports: [53, 53], holder: 'a service of this node' },
    ],
  })
  expect(await askService(dir, 'rule no-such-rule')).toBeNull()
  expect(await askService(dir, 'nonsense')).toBeNull()
})

test('the group may ask, others may not; a long or slow question is not waited for', async () => {
  await waitFor(async () => ((await stat(join(dir, SOCKET))).mode & 0o777) === 0o660)
  const closed = (text: string): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(join(dir, SOCKET), () => socket.write(text))
      socket.on('error', () => undefined).on('close', () => resolve())
    })
  await closed('x'.repeat(1000))
  await closed('rule 1')
})

test('without a service there is no answer, and one that comes later is found', async () => {
  await lookers.close()
  expect(await askService(dir, 'node')).toBeNull()
  const looking = makeLooking(dir)
  looking(true)
  lookers = answerLookers(dir, files)
  lookers.passed({ outcome, readBack: installed }, read)
  await waitFor(() => {
    looking(true)
    return reads > 0
  })
  looking(false)
  await chmod(dir, 0o700)
})
