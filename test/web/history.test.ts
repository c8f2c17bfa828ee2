// New connections by the minute, made of counters.
import { expect, test } from 'vitest'
import { makeHistory, MINUTES } from '../../src/web/history.ts'

const START = Date.parse('2026-01-01T12:00:30Z')
const at = (minutes: number, rules: Record<string, number>) => ({
  at: new Date(START + minutes * 60_000).toISOString(),
  rules: new Map(
    Object.entries(rules).map(([id, packets]): [string, [number, number]] => [id, [packets, 0]]),
  ),
})
const last = (counts: readonly number[], n: number): number[] => counts.slice(-n)

test('what was counted before anybody looked is not of this hour', () => {
  const history = makeHistory()
  expect(history.since()).toBeUndefined()
  history.sample(at(0, { a: 5000 }))
  history.sample(at(1, { a: 5003 }))
  expect(history.since()).toBe(START)
  expect(last(history.of('a', START + 60_000), 3)).toEqual([0, 0, 3])
  expect(history.of('a', START)).toHaveLength(MINUTES)
})

test('each minute has its own, and an hour later it is forgotten', () => {
  const history = makeHistory()
  history.sample(at(0, { a: 0 }))
  history.sample(at(1, { a: 10 }))
  history.sample(at(1.4, { a: 11 }))
  history.sample(at(4, { a: 15 }))
  const now = (minutes: number): number => START + minutes * 60_000
  expect(last(history.of('a', now(4)), 5)).toEqual([0, 11, 0, 0, 4])
  expect(last(history.of('a', now(6)), 7)).toEqual([0, 11, 0, 0, 4, 0, 0])
  expect(history.hour('a', now(4))).toBe(15)
  expect(history.hour('a', now(61))).toBe(4)
  history.sample(at(300, { a: 16 }))
  expect(history.hour('a', now(300))).toBe(1)
})

test('a counter that begins again is no jump', () => {
  const history = makeHistory()
  history.sample(at(0, { a: 100 }))
  history.sample(at(1, { a: 4 }))
  expect(history.hour('a', START + 60_000)).toBe(4)
})

test('a rule that comes later began at 0; one that goes is forgotten', () => {
  const history = makeHistory()
  history.sample(at(0, {}))
  history.sample(at(1, { b: 7 }))
  expect(history.hour('b', START + 60_000)).toBe(7)
  history.sample(at(2, {}))
  expect(history.hour('b', START + 120_000)).toBe(0)
})

test('a clock that goes back, or a time that is none, breaks nothing', () => {
  const history = makeHistory()
  history.sample(at(10, { a: 0 }))
  history.sample(at(5, { a: 3 }))
  history.sample({ at: 'yesterday', rules: new Map([['a', [9, 9]]]) })
  expect(history.hour('a', START + 600_000)).toBe(3)
})
