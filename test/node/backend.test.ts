// A backend that does not answer for a moment is no backend that can be used again.
import { expect, test, vi } from 'vitest'
import { makeAnswers } from '../../src/node/answers.ts'
import { choiceOf } from '../../src/node/backend.ts'
import { NOT_STARTED, run, TOO_LATE, type Finished } from '../../src/node/exec.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'

vi.mock('node:fs/promises', async (original) => ({
  ...(await original<object>()),
  realpath: () => Promise.resolve('/usr/sbin/xtables-nft-multi'),
}))
vi.mock('../../src/node/exec.ts', async (original) => ({ ...(await original<object>()), run: vi.fn() }))

const says = (code: number, stdout = ''): void =>
  void vi.mocked(run).mockResolvedValue({ code, stdout, stderr: '' } satisfies Finished)
const FOREIGN = "# Table `nat' is incompatible, use 'nft' tool.\n"

test.each([
  ['in time', TOO_LATE],
  ['for want of a lock or of memory', 4],
])('the last answer counts while iptables-nft does not answer %s', async (_, code) => {
  // Answers take no time.
  const answers = makeAnswers(() => 0)
  const why = async (): Promise<string> => {
    answers.forgetRules()
    return (await choiceOf({ ...DEFAULT_SETTINGS, backend: 'auto' }, answers)).why
  }
  says(0, FOREIGN)
  expect(await why()).toContain('table ip nat was made by nft itself')
  says(code)
  expect(await why()).toContain('table ip nat was made by nft itself')
  says(0)
  expect(await why()).toBe('plain iptables is iptables-nft')
  says(code)
  expect(await why()).toBe('plain iptables is iptables-nft')
  says(0, FOREIGN)
  await why()
  says(NOT_STARTED)
  expect(await why()).toBe('plain iptables is iptables-nft')
})
