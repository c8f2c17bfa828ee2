// Memory is given back when work has ended, and now and then while it goes on.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { makeRest } from '../../src/service/rest.ts'

const collect = vi.fn()
vi.mock('node:vm', () => ({ runInNewContext: () => collect }))

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  collect.mockClear()
})

test('twice after the last work, then no more', () => {
  const worked = makeRest()
  worked()
  vi.advanceTimersByTime(2900)
  expect(collect).not.toHaveBeenCalled()
  vi.advanceTimersByTime(60_000)
  expect(collect).toHaveBeenCalledTimes(2)
  worked()
  vi.advanceTimersByTime(60_000)
  expect(collect).toHaveBeenCalledTimes(4)
})

test('every three seconds while work goes on', () => {
  const worked = makeRest()
  for (let second = 0; second < 60; second++) {
    worked()
    vi.advanceTimersByTime(1000)
  }
  expect(collect).toHaveBeenCalledTimes(20)
})
