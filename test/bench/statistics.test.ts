import { expect, test } from 'vitest'
import { withReport } from './report.ts'
import { quantile, ratios, summarise } from './statistics.ts'
import { round, showValues, Table } from './table.ts'
import { showTargets, verdict, type Target } from './targets.ts'

test('median and middle half, of odd and even numbers of values in any order', () => {
  expect(summarise([5, 1, 4, 2, 3])).toEqual({ median: 3, low: 2, high: 4 })
  expect(summarise([4, 1, 3, 2])).toEqual({ median: 2.5, low: 1.75, high: 3.25 })
  expect(summarise([7])).toEqual({ median: 7, low: 7, high: 7 })
  expect(() => quantile([], 0.5)).toThrow('got none')
})

test('one slow round does not move the median, nor a ratio that was measured in the same rounds', () => {
  expect(summarise([10, 10, 500, 10, 10]).median).toBe(10)
  expect(ratios([10, 1000, 12], [5, 500, 6])).toEqual([2, 2, 2])
})

test('of different rounds, the ratio is that of the medians', () => {
  expect(ratios([10, 20, 30], [4, 5])).toEqual([20 / 4.5])
})

test('figures have three digits', () => {
  expect([0.01234, 1.234, 12.34, 123.4, 1234, 1234567].map(round)).toEqual([
    '0.012',
    '1.23',
    '12.3',
    '123',
    '1,234',
    '1,234,567',
  ])
  expect([0, 50, 1000].map(round)).toEqual(['0', '50', '1,000'])
  expect(showValues([2, 1, 3])).toBe('2 (1.50–2.50)')
})

test('a table shows how many times the base each other way is, and leaves out what was not measured', () => {
  const table = new Table('New connections', 'forwards', ['ours', 'of it all', 'chain', 'map'], 'ours')
  table.add('100', 'ours', [2.2])
  table.add('100', 'of it all', [1])
  table.add('100', 'chain', [5.5], '*')
  table.add('1,000', 'map', [1, 1, 1])
  table.add('1,000', 'map', [1, 1])
  expect(table.values('1,000', 'map')).toHaveLength(5)
  expect(table.markdown()).toBe(
    [
      '### New connections',
      '',
      '| forwards | ours | of it all | chain         | map     |',
      '| -------- | ---- | --------- | ------------- | ------- |',
      '| 100      | 2.20 | 1         | 5.50, 2.50x * |         |',
      '| 1,000    |      |           |               | 1 (1–1) |',
      '',
    ].join('\n'),
  )
})

test('a target is met by the median, and not met is told from not measured', () => {
  const target = (values: number[] | undefined, bound: Target['bound']): Target => ({
    what: 'it',
    unit: 'x',
    values,
    bound,
  })
  expect(verdict(target([1, 1.15, 9], { atMost: 1.15 }))).toBe('met')
  expect(verdict(target([1.16], { atMost: 1.15 }))).toBe('not met')
  expect(verdict(target([49], { atLeast: 50 }))).toBe('not met')
  expect(verdict(target(undefined, { atLeast: 50 }))).toBe('not measured')
  expect(showTargets([target([49], { atLeast: 50 })])).toContain(
    '| it     | at least 50x | 49x      | not met |',
  )
})

test('a report replaces the one before, and nothing else of the document', () => {
  const first = withReport(
    'before\n<!-- begin of what the bench writes -->\n<!-- end of what the bench writes -->\nafter\n',
    'one\n',
  )
  expect(first).toBe(
    'before\n<!-- begin of what the bench writes -->\n\none\n\n<!-- end of what the bench writes -->\nafter\n',
  )
  expect(withReport(first, 'two')).toBe(first.replace('one', 'two'))
  expect(() => withReport('before', 'one')).toThrow('expected')
})
