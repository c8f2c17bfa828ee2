// The files of the run folder: written when there is something new to say, and not at each look.
import { expect, test, vi } from 'vitest'
import { writeWhole } from '../../src/node/state.ts'
import { makePublisher } from '../../src/service/publish.ts'

vi.mock('../../src/node/state.ts', () => ({ writeWhole: vi.fn(() => Promise.resolve()) }))

test('the same once more writes nothing; something else does', async () => {
  const paths = { pveDir: '/etc/pve', node: 'pve1', config: '', stateDir: '', runDir: '/run/pvenat' }
  const publisher = makePublisher(paths, [], (message) => expect.unreachable(message))
  for (const reason of ['one reason', 'one reason', 'another', 'another']) publisher.failed(reason)
  await publisher.close()
  const said = vi
    .mocked(writeWhole)
    .mock.calls.map(([, , text]) => JSON.parse(text) as { degraded: string | null; pid: number | null })
  expect(said.map(({ degraded, pid }) => [degraded, pid])).toEqual([
    [null, process.pid],
    ['one reason', process.pid],
    ['another', process.pid],
    ['another', null],
  ])
})
