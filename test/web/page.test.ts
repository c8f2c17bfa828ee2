// What the page makes of the rules, without a browser: texts, filters, order, and where the picture puts them.
import { expect, test } from 'vitest'
import { layOut } from '../../src/web/page/layout.ts'
import { filterItems, sortItems, span, toItem, type Filter } from '../../src/web/page/model.ts'
import { makeScene } from '../../src/web/page/scene.ts'
import { pageRows } from '../../src/web/view.ts'
import { told } from './published.ts'

const made = new Map<string, ReturnType<typeof makeItems>>()
const itemsOf = (count: number, badEvery = 0) => {
  const key = `${count} ${badEvery}`
  const items = made.get(key) ?? makeItems(count, badEvery)
  made.set(key, items)
  return items
}
const makeItems = (count: number, badEvery: number) => {
  const { rows, status } = told(count, badEvery)
  return { status, items: pageRows({ rows, status, counters: undefined }).map(toItem) }
}
const all: Filter = { query: '', states: new Set(), kinds: new Set() }
const sceneOf = (count: number, badEvery = 0, expanded?: string, selected?: string) => {
  const { items, status } = itemsOf(count, badEvery)
  const { external, internal } = status
  return makeScene({ items, external, internal, hour: () => 0, expanded, selected })
}

test('rows know the bridge that they lead behind', () => {
  const { items } = itemsOf(40)
  expect(items[0]).toMatchObject({
    outside: 'udp 203.0.113.7:2000',
    inside: '10.10.0.100:22',
    guest: '100 shop',
  })
  expect(items[0]?.row.via).toBe('vmbr1')
  expect(items.find(({ row }) => row.guest?.vmid === 102)?.row.via).toBe('vmbr2')
})

test('a search is for all its words, and a number also finds the range that holds it', () => {
  const { items } = itemsOf(40)
  const find = (query: string) => filterItems(items, { ...all, query })
  expect(find('WEB tcp')).toEqual(
    items.filter(({ guest, row }) => guest.includes('web') && row.proto[0] === 'tcp'),
  )
  const [first] = items
  if (!first) throw new Error('no items')
  const wide = {
    ...first,
    row: { ...first.row, external: { ...first.row.external, ports: [[20100, 20119] as [number, number]] } },
  }
  expect(filterItems([wide], { ...all, query: '20105' })).toEqual([wide])
  expect(filterItems([wide], { ...all, query: '20120' })).toEqual([])
  expect(filterItems(items, { ...all, kinds: new Set(['egress']) })).toHaveLength(4)
})

test('what is wrong comes first', () => {
  const { items } = itemsOf(40, 12)
  const sorted = sortItems(items, { key: 'state', down: false }, () => 0)
  expect(sorted.slice(0, 8).map(({ row }) => row.state)).toEqual([
    ...Array<string>(4).fill('error'),
    ...Array<string>(4).fill('conflict'),
  ])
  expect(sortItems(items, { key: 'hour', down: false }, (id) => (id === items[5]?.id ? 9 : 0))[0]).toBe(
    items[5],
  )
})

test('times are said in one unit', () => {
  expect([10_000, 5 * 60_000, 5 * 3_600_000, 3 * 86_400_000].map(span)).toEqual([
    'less than a minute',
    '5 min',
    '5 h',
    '3 days',
  ])
})

test('few rules have a line each', () => {
  const scene = sceneOf(3)
  expect(scene.targets.flatMap(({ lines }) => lines.map(({ items }) => items.length))).toEqual([1, 1, 1])
  expect(scene.hidden).toEqual({ targets: 0, rules: 0 })
})

test('of ten thousand there are few boxes and lines, and what is wrong is among them', () => {
  const scene = sceneOf(10_000, 5000)
  const lines = scene.targets.flatMap((target) => target.lines)
  expect(scene.targets.length).toBeLessThanOrEqual(8)
  expect(lines.length).toBeLessThanOrEqual(60)
  expect(lines.some(({ state }) => state === 'error')).toBe(true)
  expect(scene.hidden.rules + scene.targets.reduce((sum, { count }) => sum + count, 0)).toBe(10_000)
})

test('a bundle is either in force or not', () => {
  for (const { items } of sceneOf(10_000, 10).targets.flatMap((target) => target.lines)) {
    const bad = items.filter(({ row }) => row.state === 'error' || row.state === 'conflict').length
    expect([0, items.length]).toContain(bad)
  }
})

test('a target that is unfolded shows its rules, and the chosen rule is always drawn by itself', () => {
  const folded = sceneOf(10_000)
  const key = folded.targets[0]?.key
  expect(sceneOf(10_000, 0, key).targets.find((target) => target.key === key)?.lines).toHaveLength(10)
  const { items } = itemsOf(10_000)
  const chosen = items[9000]?.id
  const lines = sceneOf(10_000, 0, undefined, chosen).targets.flatMap((target) => target.lines)
  expect(lines.filter(({ id }) => id === chosen)).toHaveLength(1)
})

test.each([360, 900, 1400])(
  'nothing of the picture lies outside it or over another box at %i pixels',
  (width) => {
    for (const scene of [sceneOf(3), sceneOf(40, 12), sceneOf(10_000, 500)]) {
      const { addresses, bridges, targets, height } = layOut(scene, width)
      const boxes = [...addresses, ...bridges, ...targets]
      for (const a of boxes) {
        expect(a.x).toBeGreaterThanOrEqual(0)
        expect(a.x + a.w).toBeLessThanOrEqual(width)
        expect(a.y).toBeGreaterThanOrEqual(0)
        expect(a.y + a.h).toBeLessThanOrEqual(height)
        for (const b of boxes) {
          const apart =
            a === b || a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
          expect(apart, `${a.key} and ${b.key}`).toBe(true)
        }
      }
    }
  },
)
