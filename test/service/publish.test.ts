// The files of the run folder: written when there is something new to say, and not at each look.
import { expect, test, vi } from 'vitest'
import { writeWhole } from '../../src/node/state.ts'
import { EMPTY_PLAN } from '../../src/ruleset/plan.ts'
import { makePublisher, type Publisher } from '../../src/service/publish.ts'
import { makeRunFolder } from '../../src/service/runfolder.ts'

vi.mock('../../src/node/state.ts', () => ({ writeWhole: vi.fn(() => Promise.resolve()) }))
const written = vi.mocked(writeWhole)

function publish(warn: (message: string) => void): Publisher {
  written.mockClear()
  const paths = { pveDir: '/etc/pve', node: 'pve1', config: '', stateDir: '', runDir: '/run/pvenat' }
  return makePublisher(paths, makeRunFolder(paths.runDir, warn), [], warn)
}

/** What became of status.json, as often as somebody tried to write it. */
const said = () =>
  written.mock.calls.map(([, , text]) => JSON.parse(text) as { degraded: string | null; pid: number | null })

const turn = () => new Promise(setImmediate)

test('the same once more writes nothing; something else does', async () => {
  const publisher = publish((message) => expect.unreachable(message))
  await turn()
  for (const reason of ['one reason', 'one reason', 'another', 'another']) {
    publisher.failed(reason)
    await turn()
  }
  await publisher.close()
  expect(said().map(({ degraded, pid }) => [degraded, pid])).toEqual([
    [null, process.pid],
    ['one reason', process.pid],
    ['another', process.pid],
    ['another', null],
  ])
})

test('it has no headline until a pass has ended, even if the last ruleset was put back before', async () => {
  const publisher = publish((message) => expect.unreachable(message))
  publisher.putBack(EMPTY_PLAN)
  expect(publisher.headline()).toBeUndefined()
  publisher.failed('/etc/pve does not answer')
  expect(publisher.headline()).toContain('/etc/pve does not answer')
  await publisher.close()
})
