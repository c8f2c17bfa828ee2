/** The page: is all well, how many rules, then the rules, the map or the problems; beside them the chosen rule. */
import { useSignal } from '@preact/signals'
import { render, type JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { amount } from '../../show/cells.ts'
import { Drawer } from './drawer.tsx'
import { FirstRun, Helper } from './helper.tsx'
import { NodeMap } from './map.tsx'
import { GROUPS, span, toCsv, type Group } from './model.ts'
import { Mood } from './mood.tsx'
import { Problems } from './problems.tsx'
import { Rules } from './rules.tsx'
import { choose, chosen, clock, counters, follow, hour, items, problems, status, visible } from './store.ts'
import { button, count, TONES } from './ui.tsx'

const TABS = ['', 'map', 'problems'] as const
const TAB =
  'cursor-pointer rounded-lg px-3 py-1.5 capitalize hover:bg-line aria-[current]:bg-brand/15 aria-[current]:font-semibold'
const VIEWS = new Map(Object.entries({ map: NodeMap, problems: Problems }))

function Strip(): JSX.Element {
  const all = Object.values(counters.value.rules).reduce((sum, [, n]) => sum + n, 0)
  const { show } = chosen.value
  const tile = (group: Group): JSX.Element => {
    const n = items.value.filter((item) => item.group === group).length
    const pick = (): void => choose({ show: show === group ? '' : group })
    const style = `tile ${n > 0 ? TONES[group] : ''}`
    return button([<b>{n}</b>, ` ${group}`], pick, style, { 'aria-pressed': show === group })
  }
  return (
    <div class="grid grid-cols-4 gap-2 md:grid-cols-5" role="group" aria-label="Rules by state">
      {GROUPS.map(tile)}
      <p class="tile max-md:hidden" title="New connections in the last hour, of all rules">
        <b>{amount(all, 1000)}</b> new/hour
      </p>
    </div>
  )
}

function Toolbar({ openHelper }: { openHelper: () => void }): JSX.Element {
  const { tab, q, show } = chosen.value
  const isPart = q !== '' || show !== ''
  const all = `${items.value.length} ${items.value.length === 1 ? 'rule' : 'rules'}`
  return (
    <nav class="flex flex-wrap items-center gap-2 py-3 print:hidden" aria-label="Views and search">
      {TABS.map((name) => {
        const n = name === 'problems' && problems.value.length > 0 && count(problems.value.length)
        const now = { 'aria-current': tab === name ? 'page' : undefined }
        return button([name || 'rules', ' ', n], () => choose({ tab: name }), TAB, now)
      })}
      <input
        id="search"
        type="search"
        value={q}
        aria-label="Search"
        placeholder="Search guest, port, address, comment"
        class="min-w-48 flex-1 max-md:order-last max-md:basis-full"
        onInput={(event) => choose({ q: event.currentTarget.value })}
      />
      <output id="found" class="text-sm text-dim tabular-nums max-md:hidden">
        {isPart ? `${visible.value.length} of ${all}` : all}
      </output>
      {isPart && button('Show all', () => choose({ q: '', show: '' }))}
      {button('CSV', saveCsv, 'button max-md:hidden', { title: 'The rules that are shown, as CSV' })}
      {button(
        ['New', <span class="max-md:hidden"> forward</span>, '…'],
        openHelper,
        'button primary max-md:ml-auto',
      )}
    </nav>
  )
}

function saveCsv(): void {
  const href = URL.createObjectURL(new Blob([toCsv(visible.value, hour)], { type: 'text/csv' }))
  Object.assign(document.createElement('a'), { href, download: 'nat-rules.csv' }).click()
  URL.revokeObjectURL(href)
}

function App(): JSX.Element {
  const isHelping = useSignal(false)
  const openHelper = (): void => void (isHelping.value = true)
  const { tab, rule } = chosen.value
  const View = VIEWS.get(tab) ?? Rules
  const isFirst = status.value && items.value.length === 0 && problems.value.length === 0
  const { at } = counters.value
  useEffect(() => document.addEventListener('keydown', (event) => onKey(event, openHelper)), [])
  // People who cannot see the page hear of problems as they come and go.
  const [worst] = problems.value
  const said = worst ? `${problems.value.length} problems, the first: ${worst.message}` : 'No problems'
  return (
    <div
      class={`flex min-h-screen flex-col px-4 xl:px-8 ${rule && 'beside group xl:pr-[29.5rem] print:pr-0'}`}
    >
      <Mood />
      <main class="flex-1">
        {isFirst && <FirstRun openHelper={openHelper} />}
        {!isFirst && [<Strip />, <Toolbar openHelper={openHelper} />, <View />]}
      </main>
      <footer class="py-3 text-dim max-md:hidden print:hidden">
        {at && `Connections were counted ${span(clock.value - Date.parse(at))} ago. `}
        Keys: / search, j and k next and previous rule, 1 2 3 views, n new forward, Esc closes.
      </footer>
      {rule !== '' && <Drawer />}
      {isHelping.value && <Helper onClose={() => void (isHelping.value = false)} />}
      <p id="said" class="sr-only" role="status">
        {status.value && said}
      </p>
    </div>
  )
}

function onKey(event: KeyboardEvent, openHelper: () => void): void {
  const { key, target } = event
  const isTyping = target instanceof Element && target.closest('input, select, dialog') !== null
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return
  const step = { j: 1, k: -1 }[key]
  const tab = TABS[Number(key) - 1]
  if (key === 'Escape') choose({ rule: '' })
  else if (key === '/') document.querySelector<HTMLElement>('#search')?.focus()
  else if (key === 'n') openHelper()
  else if (tab !== undefined) choose({ tab })
  else if (step !== undefined) {
    const at = visible.value.findIndex(({ id }) => id === chosen.value.rule)
    const next = visible.value[at < 0 ? 0 : at + step]
    if (next) choose({ rule: next.id })
  } else return
  event.preventDefault()
}

render(<App />, document.body)
follow()
