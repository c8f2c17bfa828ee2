// What the page makes of the rules, without a browser: words, filters, order, CSV, and the lines of the map.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ROW_STATES } from '../../src/show/list.ts'
import { filterItems, GROUPS, sortItems, span, toCsv, toItem, type Item } from '../../src/web/page/model.ts'
import { makeLines, MAX_LINES } from '../../src/web/page/scene.ts'
import { pageRows } from '../../src/web/view.ts'
import { told } from './published.ts'

const MAX_SOURCE_LINES = 2000

test(`src/web has at most ${MAX_SOURCE_LINES} lines, the style sheet and the page included`, () => {
  const files = readdirSync('src/web', { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.includes('.'),
  )
  const lines = files.map((name) => readFileSync(join('src/web', name), 'utf8').split('\n').length - 1)
  expect(lines.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(MAX_SOURCE_LINES)
})

const itemsOf = (count: number, badEvery = 0): Item[] => {
  const { rows, status } = told(count, badEvery)
  return pageRows({ rows, status, counters: undefined }).map(toItem)
}
const none = (): number => 0
const [some, bad, many] = [itemsOf(40), itemsOf(40, 12), itemsOf(10_000, 500)]

test('rows have the words of Proxmox VE, and know the bridge that they lead behind', () => {
  expect(some[0]).toMatchObject({
    external: '203.0.113.7:2000/udp',
    target: '10.10.0.100:22',
    guest: '100 shop',
    comment: '2000 shop',
    rule: '100.fw:5',
  })
  expect(some[0]?.row.via).toBe('vmbr1')
  // A way out of a guest leaves by the bridge on which its forwards end.
  expect(some.find(({ row }) => row.kind === 'egress' && row.guest?.vmid === 102)?.row.via).toBe('vmbr2')
})

test('every state has a word, and counts in one group', () => {
  const [{ row }] = some as [Item]
  for (const state of ROW_STATES) {
    const item = toItem({ ...row, state })
    expect(item.state).not.toBe('')
    expect(GROUPS).toContain(item.group)
  }
})

test('a search is for all its words, and a number also finds the range that holds it', () => {
  expect(filterItems(some, 'WEB tcp', '')).toEqual(
    some.filter(({ guest, row }) => guest.includes('web') && row.proto[0] === 'tcp'),
  )
  const [{ row }] = some as [Item]
  const wide = toItem({ ...row, external: { ...row.external, ports: [[20100, 20119]] } })
  expect(filterItems([wide], '20105', '')).toEqual([wide])
  expect(filterItems([wide], '20120', '')).toEqual([])
  expect(filterItems(bad, '', 'errors')).toHaveLength(8)
})

test('what is wrong comes first, and every column sorts', () => {
  const states = sortItems(bad, '', false, none).map(({ row }) => row.state)
  expect(states.slice(0, 8)).toEqual([
    ...Array<string>(4).fill('error'),
    ...Array<string>(4).fill('conflict'),
  ])
  expect(sortItems(some, 'hour', false, (id) => (id === some[5]?.id ? 9 : 0))[0]).toBe(some[5])
  const guests = sortItems(many, 'guest', false, none).map(({ row }) => row.guest?.vmid ?? 0)
  expect(guests).toEqual([...guests].sort((a, b) => a - b))
})

test('no cell of the CSV is a formula or leaves its cell, whatever somebody typed', () => {
  const [{ row }] = some as [Item]
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('=', '"', ',', '\n', '\r', '+', '@', 'a') }), (text) => {
      const csv = toCsv([toItem({ ...row, comment: `NAT ${text}` })], none)
      const cells = [...csv.matchAll(/"((?:[^"]|"")*)"(,|\r\n)/g)]
      expect(cells).toHaveLength(16)
      for (const [, cell = ''] of cells) expect(cell).not.toMatch(/^[=+\-@\t\r]/)
    }),
  )
})

test('times are said in one unit', () => {
  expect([10_000, 5 * 60_000, 5 * 3_600_000, 3 * 86_400_000].map(span)).toEqual([
    '10 s',
    '5 min',
    '5 h',
    '3 days',
  ])
})

test('few rules have a line each; of many, each is in exactly one of few lines', () => {
  expect(makeLines(itemsOf(MAX_LINES), none).map(({ items }) => items.length)).toEqual(
    Array(MAX_LINES).fill(1),
  )
  for (const items of [bad, many]) {
    const lines = makeLines(items, none)
    const drawn = lines.flatMap((line) => line.items)
    expect(lines.length).toBeLessThanOrEqual(MAX_LINES + 4)
    expect(new Set(drawn).size).toBe(items.length)
    expect(drawn).toHaveLength(items.length)
  }
})

test('a line of one guest is either in force or not, and guests with trouble are seen first', () => {
  const lines = makeLines(many, none).filter(({ stations: [, , guest] }) => /^\d+ [a-z]+$/.test(guest))
  for (const { items, isBad } of lines)
    expect(items.filter(({ group }) => group === 'errors')).toHaveLength(isBad ? items.length : 0)
  const wrong = lines.filter(({ isBad }) => isBad).flatMap(({ items }) => items)
  expect(wrong).toHaveLength(many.filter(({ group }) => group === 'errors').length)
})
