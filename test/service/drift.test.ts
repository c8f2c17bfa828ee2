// When the watch looks for what no event tells of.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { watchKernel } from '../../src/service/drift.ts'

vi.mock('../../src/node/monitor.ts', () => ({
  monitorRules: () => ({ isAlive: () => true, close: () => undefined }),
}))

beforeEach(() => {
  vi.useFakeTimers()
  isRestDrifted.mockClear()
})
afterEach(() => void vi.useRealTimers())

const isRestDrifted = vi.fn(() => Promise.resolve(false))
const areRulesDrifted = () => Promise.resolve(false)
const watch = () => watchKernel('nft', { areRulesDrifted, isRestDrifted }, () => undefined)

test('each second', async () => {
  const drift = watch()
  await vi.advanceTimersByTimeAsync(10_500)
  expect(isRestDrifted).toHaveBeenCalledTimes(10)
  drift.close()
})

test('a pass that goes on at that moment puts it off by no second: what it has read already may have changed', async () => {
  const drift = watch()
  await vi.advanceTimersByTimeAsync(990)
  const passed = drift.passing()
  await vi.advanceTimersByTimeAsync(100)
  passed(true)
  await vi.advanceTimersByTimeAsync(260)
  expect(isRestDrifted).toHaveBeenCalledTimes(1)
  drift.close()
})
