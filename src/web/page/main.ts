/** The page: is all well, how many rules, then the rules, the map or the problems; beside them the chosen rule. */
import { useSignal } from '@preact/signals'
import { h, render, type JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { Drawer } from './drawer.ts'
import { FirstRun, Helper } from './helper.ts'
import { NodeMap } from './map.ts'
import { short, span, toCsv, type Group } from './model.ts'
import { Mood } from './mood.ts'
import { Problems } from './problems.ts'
import { Rules } from './rules.ts'
import {
  choose,
  chosen,
  clock,
  counters,
  follow,
  hour,
  items,
  problems,
  status,
  TABS,
  visible,
} from './store.ts'
import { button, count, TONES } from './ui.ts'

const TILES: readonly Group[] = ['working', 'pending', 'off', 'errors']
const VIEWS = { rules: Rules, map: NodeMap, problems: Problems } as const

function Strip(): JSX.Element {
  const all = Object.values(counters.value.rules).reduce((sum, [, n]) => sum + n, 0)
  const tiles = TILES.map((group) => {
    const isOn = chosen.value.group === group
    const n = items.value.filter((item) => item.group === group).length
    const pick = (): void => choose({ group: isOn ? undefined : group })
    return button(pick, [h('b', null, n), ' ', group], `tile ${n > 0 ? TONES[group] : ''}`, {
      'aria-pressed': isOn,
    })
  })
  const total = h(
    'p',
    { class: 'tile max-sm:hidden' },
    h('b', null, short(all)),
    ' connections in the last hour',
  )
  const style = 'grid grid-cols-4 gap-2 sm:grid-cols-[repeat(4,1fr)_1.6fr]'
  return h('div', { class: style, role: 'group', 'aria-label': 'Rules by state' }, tiles, total)
}

function Toolbar({ openHelper }: { openHelper: () => void }): JSX.Element {
  const { tab, query, group } = chosen.value
  const isPart = query !== '' || group !== undefined
  const all = `${items.value.length} ${items.value.length === 1 ? 'rule' : 'rules'}`
  const tabs = TABS.map((name) => {
    const n = name === 'problems' && problems.value.length > 0 && count(problems.value.length)
    const now = { 'aria-current': tab === name ? 'page' : undefined }
    return button(() => choose({ tab: name }), [name, ' ', n], 'tab', now)
  })
  const search = h('input', {
    id: 'search',
    type: 'search',
    autocomplete: 'off',
    spellcheck: false,
    value: query,
    'aria-label': 'Search',
    placeholder: 'Search guest, port, address, comment',
    class: 'min-w-48 flex-1 max-sm:order-last max-sm:basis-full',
    onInput: (event) => choose({ query: event.currentTarget.value }),
  })
  const found = isPart ? `${visible.value.length} of ${all}` : all
  return h(
    'nav',
    { class: 'flex flex-wrap items-center gap-2 py-3', 'aria-label': 'Views and search' },
    tabs,
    search,
    h('output', { id: 'found', class: 'text-sm text-dim tabular-nums max-sm:hidden' }, found),
    isPart && button(() => choose({ query: '', group: undefined }), 'Show all'),
    button(saveCsv, 'CSV', 'button max-sm:hidden', { title: 'The rules that are shown, as CSV' }),
    button(openHelper, 'New forward…', 'button primary max-sm:ml-auto'),
  )
}

function saveCsv(): void {
  const href = URL.createObjectURL(new Blob([toCsv(visible.value, hour)], { type: 'text/csv' }))
  Object.assign(document.createElement('a'), { href, download: 'nat-rules.csv' }).click()
  URL.revokeObjectURL(href)
}

const KEYS = 'Keys: / search, j and k next and previous rule, 1 2 3 views, n new forward, Esc closes.'

function App(): JSX.Element {
  const isHelping = useSignal(false)
  const openHelper = (): void => void (isHelping.value = true)
  const { tab, rule } = chosen.value
  const isFirst = status.value && items.value.length === 0 && problems.value.length === 0
  const { at } = counters.value
  useEffect(() => document.addEventListener('keydown', (event) => onKey(event, openHelper)), [])
  // People who cannot see the page hear of problems as they come and go.
  const [worst] = problems.value
  const said = worst ? `${problems.value.length} problems, the first: ${worst.message}` : 'No problems'
  const age = at ? `Connections were counted ${span(clock.value - Date.parse(at))} ago. ` : ''
  const views = isFirst
    ? h(FirstRun, { openHelper })
    : [h(Strip, null), h(Toolbar, { openHelper }), h(VIEWS[tab], null)]
  return h(
    'div',
    { class: `page ${rule === undefined ? '' : 'beside group'}` },
    h(Mood, null),
    h('main', { class: 'flex-1' }, views),
    h('footer', { class: 'py-3 text-sm text-dim max-sm:hidden' }, age, KEYS),
    rule !== undefined && h(Drawer, null),
    isHelping.value && h(Helper, { close: () => void (isHelping.value = false) }),
    h('p', { id: 'said', class: 'sr-only', role: 'status' }, status.value && said),
  )
}

function onKey(event: KeyboardEvent, openHelper: () => void): void {
  const { key, target } = event
  const isTyping = target instanceof Element && target.closest('input, select, dialog') !== null
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return
  const step = { j: 1, k: -1 }[key]
  const tab = TABS[Number(key) - 1]
  if (key === 'Escape') choose({ rule: undefined })
  else if (key === '/') document.querySelector<HTMLElement>('#search')?.focus()
  else if (key === 'n') openHelper()
  else if (tab) choose({ tab })
  else if (step !== undefined) {
    const at = visible.value.findIndex(({ id }) => id === chosen.value.rule)
    const next = visible.value[at < 0 ? 0 : at + step]
    if (next) choose({ rule: next.id })
  } else return
  event.preventDefault()
}

render(h(App, null), document.body)
follow()
