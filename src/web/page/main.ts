/** The page: what comes in goes to its four parts, and what is chosen in one is shown in all. */
import { MAX_IDS } from '../gate.ts'
import type { PageCounters, PageHistory, PageStatus } from '../view.ts'
import { renderDetail } from './detail.ts'
import { byId, h } from './dom.ts'
import { fetchHistory, follow } from './feed.ts'
import { renderHeader } from './header.ts'
import { makeList } from './list.ts'
import {
  filterItems,
  KIND_NAMES,
  KINDS,
  sortItems,
  STATES,
  toItem,
  type Item,
  type Kind,
  type Order,
  type State,
} from './model.ts'
import { makePicture } from './picture.ts'
import { makeProblems } from './problems.ts'

let status: PageStatus = null
let isConnected = false
let items: Item[] = []
let visible: Item[] = []
let counters: PageCounters = { since: null, rules: {} }
const history: PageHistory = { since: null, rules: {} }
let seenIds: string[] = []
let selected: string | undefined = location.hash.slice(1) || undefined
let expanded: string | undefined
let order: Order = { key: 'state', down: false }
const states = new Set<State>()
const kinds = new Set<Kind>()

const search = byId('search') as HTMLInputElement
const hour = (id: string): number => counters.rules[id]?.[1] ?? 0

const picture = makePicture(byId('picture'), {
  choose: (id) => choose(id, false),
  expand: (target) => {
    expanded = expanded === target ? undefined : target
    later()
  },
})
const list = makeList(byId('list'), {
  choose: (id) => choose(id, true),
  sort: (key) => {
    order = { key, down: order.key === key && !order.down }
    refilter()
  },
  seen: (ids) => {
    seenIds = ids
    askHistory(150)
  },
})
const problems = makeProblems(byId('problems'), byId('said'))

function choose(id: string | undefined, isFromList: boolean): void {
  selected = id
  window.history.replaceState(null, '', id === undefined ? location.pathname : `#${id}`)
  render()
  if (id !== undefined && isFromList) list.reveal(id)
  // Where the parts stand below each other, what was chosen would be out of sight.
  if (id !== undefined && isFromList && matchMedia('(max-width: 1100px)').matches)
    byId('detail').scrollIntoView({ block: 'nearest' })
  askHistory(0)
}

/** What is shown, anew from the whole list. */
function refilter(): void {
  visible = sortItems(filterItems(items, { query: search.value, states, kinds }), order, hour)
  render()
}

function render(): void {
  renderHeader(byId('header'), status, isConnected, Date.now())
  const counts = (id: string): [number, number] | undefined => counters.rules[id]
  list.show({ items: visible, order, selected, counts, history: (id) => history.rules[id] })
  byId('found').textContent =
    visible.length === items.length ? `${items.length} rules` : `${visible.length} of ${items.length} rules`
  const item = selected === undefined ? undefined : items.find(({ id }) => id === selected)
  renderDetail(byId('detail'), item && { item, status, counts: counts(item.id), history }, () =>
    choose(undefined, false),
  )
  later()
}

let isDrawing = false
/** The picture, before the next frame: once, however much has changed. */
function later(): void {
  if (isDrawing) return
  isDrawing = true
  requestAnimationFrame(() => {
    isDrawing = false
    const width = Math.floor(byId('picture').clientWidth)
    // Before the page has its style there is no room; it is drawn when there is.
    if (width === 0) return
    const { external = [], internal = [], node = '' } = status ?? {}
    const hidden = picture.draw({
      external,
      internal,
      node,
      items: visible,
      hour,
      expanded,
      selected,
      width,
    })
    const note = byId('hidden')
    note.hidden = hidden.targets === 0
    note.textContent = `${hidden.targets} more targets with ${hidden.rules} rules are not drawn; search, and the picture shows what is found.`
  })
}

let asking: ReturnType<typeof setTimeout> | undefined
function askHistory(ms: number): void {
  clearTimeout(asking)
  asking = setTimeout(() => {
    const ids = [...new Set([...(selected === undefined ? [] : [selected]), ...seenIds])].slice(0, MAX_IDS)
    void fetchHistory(ids).then(({ since, rules }) => {
      history.since = since
      history.rules = rules
      render()
    })
  }, ms)
}

/** A row of buttons, any of which may be pressed; none means all. */
function makeChips<T extends string>(
  root: HTMLElement,
  names: readonly T[],
  words: (name: T) => string,
  set: Set<T>,
): (count: (name: T) => number) => void {
  const buttons = names.map((name) => {
    const button = h(
      'button',
      { type: 'button', class: `chip ${name}`, 'aria-pressed': 'false' },
      words(name),
      ' ',
      h('span', { class: 'number' }),
    )
    button.addEventListener('click', () => {
      if (!set.delete(name)) set.add(name)
      button.setAttribute('aria-pressed', String(set.has(name)))
      refilter()
    })
    root.append(button)
    return { name, button }
  })
  return (count) => {
    for (const { name, button } of buttons) {
      const n = count(name)
      button.hidden = n === 0 && !set.has(name)
      button.lastElementChild?.replaceChildren(String(n))
    }
  }
}

const countStates = makeChips(byId('states'), STATES, (name) => name, states)
const countKinds = makeChips(byId('kinds'), KINDS, (name) => KIND_NAMES[name], kinds)

search.addEventListener('input', refilter)
document.addEventListener('keydown', (event) => {
  if (event.key === '/' && document.activeElement !== search) {
    event.preventDefault()
    search.focus()
  } else if (event.key === 'Escape') choose(undefined, false)
})
new ResizeObserver(later).observe(byId('picture'))
setInterval(() => renderHeader(byId('header'), status, isConnected, Date.now()), 1000)

follow(
  {
    status: (value) => {
      status = value
      render()
    },
    problems: (value) => problems.show(value),
    list: (rows) => {
      items = rows.map(toItem)
      countStates((name) => items.filter(({ row }) => row.state === name).length)
      countKinds((name) => items.filter(({ row }) => row.kind === name).length)
      refilter()
    },
    counters: (value) => {
      counters = value
      // The order by connections would jump under the eye; it holds until it is asked for again.
      render()
      askHistory(500)
    },
  },
  (isThere) => {
    isConnected = isThere
    renderHeader(byId('header'), status, isConnected, Date.now())
  },
)
