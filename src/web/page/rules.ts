/** The table of rules: ten thousand of them, of which as many are in the document as are seen. Cards on a phone. */
import { observeWindowOffset, observeWindowRect, Virtualizer, windowScroll } from '@tanstack/virtual-core'
import { h, type ComponentChildren, type JSX } from 'preact'
import { useEffect, useLayoutEffect, useReducer, useRef } from 'preact/hooks'
import { COLUMNS, short, type Column, type Item } from './model.ts'
import { choose, chosen, counters, hour, items, visible } from './store.ts'
import { badge, small } from './ui.ts'

const NARROW = matchMedia('(max-width: 639px)')
const PAPER = matchMedia('print')
/** Of a row, and of a card with the gap below it. */
const sizePx = (): number => (NARROW.matches ? 92 : 34)

/** The rows that the window shows, with some above and below. */
function useRows(count: number, scrollMargin: number): Virtualizer<Window, Element> {
  const [, redraw] = useReducer((n: number) => n + 1, 0)
  const options = {
    count,
    estimateSize: sizePx,
    scrollMargin,
    overscan: 8,
    scrollPaddingStart: 40,
    getScrollElement: (): Window => window,
    scrollToFn: windowScroll,
    onChange: () => redraw(0),
    observeElementRect: observeWindowRect,
    observeElementOffset: observeWindowOffset,
    initialRect: { width: innerWidth, height: innerHeight },
  }
  const ref = useRef<Virtualizer<Window, Element>>(undefined)
  const rows = (ref.current ??= new Virtualizer<Window, Element>(options))
  rows.setOptions(options)
  useLayoutEffect(() => rows._didMount(), [])
  useLayoutEffect(() => rows._willUpdate())
  useEffect(() => {
    NARROW.addEventListener('change', () => rows.measure())
    PAPER.addEventListener('change', () => redraw(0))
  }, [])
  return rows
}

/** Classes of a column, and its cell. `most`: connections of the busiest rule. */
const CELLS: Readonly<Record<Column, [string, (item: Item, most: number) => ComponentChildren]>> = {
  state: ['w-28 max-sm:[grid-area:state]', ({ word, group }) => badge(group, word)],
  external: [
    'font-medium max-sm:[grid-area:external]',
    ({ external, row }) => [h('button', null, external), ' ', small(row.proto.join(' '))],
  ],
  target: ['max-sm:col-span-2', ({ target }) => target],
  guest: ['max-sm:hidden', ({ guest }) => guest || '–'],
  source: ['text-dim max-lg:hidden group-[.beside]:hidden', ({ source }) => source],
  comment: ['text-dim max-sm:col-span-2', ({ comment }) => h('span', { title: comment }, comment)],
  hour: ['w-36 max-sm:hidden', ({ id }, most) => busy(hour(id), most)],
  rule: ['w-28 text-dim max-lg:hidden group-[.beside]:hidden', ({ rule }) => rule],
}
const KEYS = Object.keys(COLUMNS) as Column[]

function busy(count: number, most: number): ComponentChildren {
  const bar = h('i', { class: 'block h-full bg-brand', style: { width: `${(100 * count) / most}%` } })
  const style = 'mr-2 inline-block h-1.5 w-16 overflow-hidden rounded-full bg-line align-middle'
  return [h('span', { class: style }, bar), short(count)]
}

function head(of: Column): JSX.Element {
  const { by, down } = chosen.value
  const order = of !== by ? undefined : down ? 'descending' : 'ascending'
  const sort = (): void => choose({ by: of, down: of === by && !down })
  const arrow = order && h('span', { 'aria-hidden': true }, down ? ' ↓' : ' ↑')
  return h(
    'th',
    { scope: 'col', class: CELLS[of][0], 'aria-sort': order },
    h('button', { onClick: sort }, COLUMNS[of], arrow),
  )
}

const space = (rows: number): JSX.Element =>
  h(
    'tr',
    { 'aria-hidden': true },
    h('td', { class: 'h-0! border-0! p-0!', style: { height: `${rows * sizePx()}px` } }),
  )

export function Rules(): JSX.Element {
  const { rule } = chosen.value
  const list = visible.value
  const body = useRef<HTMLTableSectionElement>(null)
  const rows = useRows(list.length, body.current?.offsetTop ?? 0)
  useEffect(() => {
    const at = list.findIndex(({ id }) => id === rule)
    if (at >= 0) rows.scrollToIndex(at, { align: 'auto' })
  }, [rule])
  const seen = PAPER.matches ? list.map((_, index) => ({ index })) : rows.getVirtualItems()
  const [first, last] = [seen[0]?.index ?? 0, seen.at(-1)?.index ?? -1]
  const most = Math.max(1, ...Object.values(counters.value.rules).map(([, count]) => count))
  return h(
    'table',
    { class: 'rules', 'aria-label': 'NAT rules', 'aria-rowcount': list.length + 1 },
    list.length === 0 && items.value.length > 0 && h('caption', null, 'No rule matches.'),
    h('thead', { class: 'max-sm:hidden' }, h('tr', null, KEYS.map(head))),
    h(
      'tbody',
      { ref: body },
      space(first),
      list.slice(first, last + 1).map((item, i) => row(item, first + i, item.id === rule, most)),
      space(list.length - 1 - last),
    ),
  )
}

function row(item: Item, index: number, isChosen: boolean, most: number): JSX.Element {
  const attributes = {
    class: 'row',
    'aria-rowindex': index + 2,
    'aria-current': isChosen ? ('true' as const) : undefined,
  }
  const cells = KEYS.map((key) => h('td', { class: CELLS[key][0] }, CELLS[key][1](item, most)))
  return h('tr', { key: item.id, ...attributes, onClick: () => choose({ rule: item.id }) }, cells)
}
