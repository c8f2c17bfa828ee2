/** The table of rules: ten thousand of them, of which as many are in the document as are seen. Cards where it is narrow. */
import { computed } from '@preact/signals'
import { observeWindowOffset, observeWindowRect, Virtualizer, windowScroll } from '@tanstack/virtual-core'
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useLayoutEffect, useReducer, useRef } from 'preact/hooks'
import { amount } from '../../show/cells.ts'
import { COLUMNS, type Column, type Item } from './model.ts'
import { choose, chosen, counters, hour, items, visible } from './store.ts'
import { badge, button } from './ui.tsx'

/** Tailwind's `max-md`. */
const NARROW = matchMedia('(width < 48rem)')
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
    overscan: 4,
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

/** Connections of the busiest rule. */
const most = computed(() =>
  Object.values(counters.value.rules).reduce((max, [, count]) => Math.max(max, count), 1),
)

/** Classes of a column, and its cell. */
const CELLS: Readonly<Record<Column, [string, (item: Item) => ComponentChildren]>> = {
  state: ['w-28 max-md:[grid-area:state]', ({ state, group }) => badge(group, state)],
  external: [
    'truncate font-medium w-[21%] group-[.beside]:w-[24%] max-md:[grid-area:external]',
    ({ external }) => <button class="max-w-full truncate">{external}</button>,
  ],
  target: ['truncate max-md:col-span-2', ({ target }) => target],
  guest: ['truncate max-md:hidden', ({ guest }) => guest],
  source: ['truncate text-dim max-lg:hidden group-[.beside]:hidden', ({ source }) => source],
  comment: ['truncate text-dim max-md:col-span-2', ({ comment }) => <span title={comment}>{comment}</span>],
  hour: ['w-36 max-md:hidden', ({ id }) => busy(hour(id))],
  rule: ['truncate w-28 text-dim max-lg:hidden group-[.beside]:hidden', ({ rule }) => rule],
}
const KEYS = Object.keys(COLUMNS) as Column[]

/** A number behind a bar of 56 px. It is one element, as each costs time while the table scrolls. */
const busy = (count: number): JSX.Element => (
  <span class="bar" style={{ backgroundSize: `${(56 * count) / most.value}px 6px, 56px 6px` }}>
    {amount(count, 1000)}
  </span>
)

function head(of: Column): JSX.Element {
  const isBy = of === (chosen.value.by || 'state')
  const isDown = isBy && chosen.value.down !== ''
  const sort = (): void => choose({ by: of === 'state' ? '' : of, down: isBy && !isDown ? '1' : '' })
  return (
    <th scope="col" class={CELLS[of][0]} aria-sort={isBy ? (isDown ? 'descending' : 'ascending') : undefined}>
      {button([COLUMNS[of], ' ', isBy && <span aria-hidden>{isDown ? '↓' : '↑'}</span>], sort, '')}
    </th>
  )
}

/** Room for rows that are not in the document. */
const space = (rows: number): JSX.Element => <tr aria-hidden style={{ height: `${rows * sizePx()}px` }} />

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
  return (
    <table class="rules" aria-label="NAT rules" aria-rowcount={list.length + 1}>
      {list.length === 0 && items.value.length > 0 && <caption>No rule matches.</caption>}
      <thead class="max-md:hidden">
        <tr>{KEYS.map(head)}</tr>
      </thead>
      <tbody ref={body}>
        {space(first)}
        {list.slice(first, last + 1).map((item, i) => (
          <tr
            key={item.id}
            class="row"
            aria-rowindex={first + i + 2}
            aria-current={item.id === rule ? 'true' : undefined}
            onClick={() => choose({ rule: item.id })}
          >
            {KEYS.map((key) => (
              <td class={CELLS[key][0]}>{CELLS[key][1](item)}</td>
            ))}
          </tr>
        ))}
        {space(list.length - 1 - last)}
      </tbody>
    </table>
  )
}
