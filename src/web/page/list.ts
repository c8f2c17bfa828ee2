/** The list: ten thousand rows, of which as many are in the document as are seen. */
import { h, s } from './dom.ts'
import { short, type Item, type Order, type SortKey } from './model.ts'
import { sparkPath } from './spark.ts'

interface ListInput {
  items: readonly Item[]
  order: Order
  selected: string | undefined
  counts: (id: string) => readonly [ever: number, hour: number] | undefined
  history: (id: string) => readonly number[] | undefined
}

interface Calls {
  choose: (id: string) => void
  sort: (key: SortKey) => void
  /** These rows are seen now. */
  seen: (ids: string[]) => void
}

interface List {
  show: (input: ListInput) => void
  /** Brings a rule into sight. */
  reveal: (id: string) => void
}

const OVERSCAN = 6
const HEADS: readonly [text: string, key: SortKey | undefined][] = [
  ['State', 'state'],
  ['From outside', 'outside'],
  ['Leads to', undefined],
  ['Guest', 'guest'],
  ['Source', undefined],
  ['New connections, 1 h', 'hour'],
  ['Where', undefined],
]

export function makeList(root: HTMLElement, { choose, sort, seen }: Calls): List {
  let input: ListInput | undefined
  const { heads, space, scroller, table, empty } = buildTable(sort)
  root.replaceChildren(table, empty)
  const rows: Row[] = []
  let reported = ''

  const rowHeight = (): number => parseFloat(getComputedStyle(root).getPropertyValue('--row')) || 44
  const render = (): void => {
    if (!input) return
    const { items } = input
    const height = rowHeight()
    const first = Math.max(0, Math.floor(scroller.scrollTop / height) - OVERSCAN)
    const count = Math.min(items.length - first, Math.ceil(scroller.clientHeight / height) + 2 * OVERSCAN)
    while (rows.length < count) {
      const row = makeRow()
      rows.push(row)
      space.append(row.element)
    }
    rows.forEach((row, i) => {
      row.element.hidden = i >= count
    })
    // An element keeps the item that it has while that is in sight, so scrolling writes only what comes in.
    for (let i = first; i < first + count; i++) {
      const item = items[i]
      if (item && input) rows[i % count]?.show(item, i, height, input)
    }
    const ids = items.slice(first, first + count).map(({ id }) => id)
    if (ids.join() !== reported) {
      reported = ids.join()
      seen(ids)
    }
  }
  let isAsked = false
  const later = (): void => {
    if (isAsked) return
    isAsked = true
    requestAnimationFrame(() => {
      isAsked = false
      render()
    })
  }
  scroller.addEventListener('scroll', later, { passive: true })
  new ResizeObserver(later).observe(scroller)
  root.addEventListener('click', (event) => {
    const id =
      event.target instanceof Element
        ? event.target.closest<HTMLElement>('[data-id]')?.dataset['id']
        : undefined
    if (id !== undefined) choose(id)
  })
  scroller.addEventListener('keydown', (event) => {
    const next = input && stepped(event.key, input)
    if (!next) return
    event.preventDefault()
    choose(next.id)
  })
  const show = (fresh: ListInput): void => {
    input = fresh
    const { items, order } = fresh
    space.style.height = `${items.length * rowHeight()}px`
    table.setAttribute('aria-rowcount', String(items.length + 1))
    table.hidden = items.length === 0
    empty.hidden = items.length > 0
    empty.textContent = root.dataset['empty'] ?? ''
    markOrder(heads, order)
    render()
  }
  const reveal = (id: string): void => {
    const at = input?.items.findIndex((item) => item.id === id) ?? -1
    const height = rowHeight()
    if (at < 0) return
    const [top, bottom] = [scroller.scrollTop, scroller.scrollTop + scroller.clientHeight]
    if (at * height < top) scroller.scrollTop = at * height
    else if ((at + 1) * height > bottom) scroller.scrollTop = (at + 1) * height - scroller.clientHeight
    later()
  }
  return { show, reveal }
}

function buildTable(sort: (key: SortKey) => void) {
  const heads = HEADS.map(([text, key]) => headOf(text, key, sort))
  const space = h('div', { role: 'none', class: 'space' })
  const words = { role: 'rowgroup', 'aria-label': 'Rows; arrow keys choose one' }
  const scroller = h('div', { class: 'scroller', tabindex: 0, ...words }, space)
  const head = h('div', { role: 'row', class: 'head-row' }, ...heads)
  const table = h(
    'div',
    { role: 'table', 'aria-label': 'NAT rules', class: 'table' },
    h('div', { role: 'rowgroup', class: 'heads' }, head),
    scroller,
  )
  return { heads, space, scroller, table, empty: h('p', { class: 'empty', hidden: true }) }
}

/** The item that an arrow key leads to. */
function stepped(key: string, { items, selected }: ListInput): Item | undefined {
  const step = { ArrowDown: 1, ArrowUp: -1 }[key]
  if (step === undefined) return undefined
  const at = items.findIndex(({ id }) => id === selected)
  return items[at < 0 ? 0 : Math.max(0, Math.min(items.length - 1, at + step))]
}

function markOrder(heads: readonly HTMLElement[], order: Order): void {
  HEADS.forEach(([, key], i) => {
    if (key === order.key) heads[i]?.setAttribute('aria-sort', order.down ? 'descending' : 'ascending')
    else heads[i]?.removeAttribute('aria-sort')
  })
}

function headOf(text: string, key: SortKey | undefined, sort: (key: SortKey) => void): HTMLElement {
  if (key === undefined) return h('div', { role: 'columnheader' }, text)
  const button = h('button', { type: 'button' }, text)
  button.addEventListener('click', () => sort(key))
  return h('div', { role: 'columnheader' }, button)
}

interface Row {
  element: HTMLElement
  show: (item: Item, index: number, height: number, input: ListInput) => void
}

function makeRow(): Row {
  const cell = (name: string, ...children: Node[]): HTMLElement =>
    h('div', { role: 'cell', class: name }, ...children)
  const badge = h('span', { class: 'badge' })
  const button = h('button', { type: 'button', class: 'link', tabindex: -1 })
  const bars = s('path', { class: 'bars' })
  const total = h('span', { class: 'number' })
  const spark = s(
    'svg',
    { viewBox: '0 0 60 20', preserveAspectRatio: 'none', class: 'spark', 'aria-hidden': 'true' },
    bars,
  )
  const [inside, guest, source, where] = [cell('inside'), cell('guest'), cell('source'), cell('where')]
  const element = h(
    'div',
    { role: 'row', class: 'row' },
    cell('state', badge),
    cell('outside', button),
    inside,
    guest,
    source,
    cell('hour', spark, total),
    where,
  )
  const show = (
    item: Item,
    index: number,
    height: number,
    { selected, counts, history }: ListInput,
  ): void => {
    const { row } = item
    if (element.dataset['id'] !== item.id) element.dataset['id'] = item.id
    element.style.transform = `translateY(${index * height}px)`
    element.setAttribute('aria-rowindex', String(index + 2))
    element.classList.toggle('chosen', item.id === selected)
    setText(badge, row.state)
    if (badge.className !== `badge ${row.state}`) badge.className = `badge ${row.state}`
    setText(button, item.outside)
    setText(inside, item.inside)
    setText(guest, item.guest || '–')
    setText(source, item.source)
    setText(where, item.where)
    setText(total, short(counts(item.id)?.[1] ?? 0))
    const path = sparkPath(history(item.id) ?? [], 20)
    if (bars.getAttribute('d') !== path) bars.setAttribute('d', path)
  }
  return { element, show }
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text
}
