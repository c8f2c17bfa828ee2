// Whoever waits longer than a second sees that something is at work; programs and files never do.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { withProgress } from '../../src/progress.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

async function outputOf(isTerminal: boolean, ms: number): Promise<string> {
  let text = ''
  const write = (part: string) => void (text += part)
  const work = withProgress({ stdout: write, stderr: write, isTerminal }, async (io) => {
    await new Promise((resolve) => setTimeout(resolve, ms))
    io.stdout('done\n')
    return 0
  })
  await vi.advanceTimersByTimeAsync(ms)
  await work
  return text
}

test('after a second the terminal tells, and the result takes the place of that', async () => {
  expect(await outputOf(true, 2500)).toBe('working, 1 s\r\u001b[Kworking, 2 s\r\u001b[Kdone\n')
})

test('what is quick says nothing, nor does what nobody watches', async () => {
  expect([await outputOf(true, 900), await outputOf(false, 5000)]).toEqual(['done\n', 'done\n'])
})
