/** The page: is all well, how many rules, then the rules, the map or the problems; beside them the chosen rule. */
import { useSignal } from '@preact/signals'
import { render, type JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { Drawer } from './drawer.tsx'
import { FirstRun, Helper } from './helper.tsx'
import { NodeMap } from './map.tsx'
import { short, span, toCsv, type Group } from './model.ts'
import { Mood } from './mood.tsx'
import { Problems } from './problems.tsx'
import { Rules } from './rules.tsx'
import { choose, chosen, clock, counters, follow, hour, items, problems, status, visible } from './store.ts'
import { count, TONES } from './ui.tsx'

const TILES: readonly Group[] = ['working', 'pending', 'off', 'errors']
const TABS = ['', 'map', 'problems'] as const
const VIEWS = new Map<string, () => JSX.Element>([
  ['map', NodeMap],
  ['problems', Problems],
])

function Strip(): JSX.Element {
  const all = Object.values(counters.value.rules).reduce((sum, [, n]) => sum + n, 0)
  const { show } = chosen.value
  const tile = (group: Group): JSX.Element => {
    const n = items.value.filter((item) => item.group === group).length
    return (
      <button
        class={`tile ${n > 0 ? TONES[group] : ''}`}
        aria-pressed={show === group}
        onClick={() => choose({ show: show === group ? '' : group })}
      >
        <b>{n}</b> {group}
      </button>
    )
  }
  return (
    <div class="grid grid-cols-4 gap-2 md:grid-cols-5" role="group" aria-label="Rules by state">
      {TILES.map(tile)}
      <p class="tile max-md:hidden" title="New connections in the last hour, of all rules">
        <b>{short(all)}</b> new/hour
      </p>
    </div>
  )
}

function Toolbar({ openHelper }: { openHelper: () => void }): JSX.Element {
  const { tab, q, show } = chosen.value
  const isPart = q !== '' || show !== ''
  const all = `${items.value.length} ${items.value.length === 1 ? 'rule' : 'rules'}`
  return (
    <nav class="flex flex-wrap items-center gap-2 py-3" aria-label="Views and search">
      {TABS.map((name) => (
        <button
          class="tab"
          aria-current={tab === name ? 'page' : undefined}
          onClick={() => choose({ tab: name })}
        >
          {name || 'rules'} {name === 'problems' && problems.value.length > 0 && count(problems.value.length)}
        </button>
      ))}
      <input
        id="search"
        type="search"
        autocomplete="off"
        spellcheck={false}
        value={q}
        aria-label="Search"
        placeholder="Search guest, port, address, comment"
        class="min-w-48 flex-1 max-md:order-last max-md:basis-full"
        onInput={(event) => choose({ q: event.currentTarget.value })}
      />
      <output id="found" class="text-sm text-dim tabular-nums max-md:hidden">
        {isPart ? `${visible.value.length} of ${all}` : all}
      </output>
      {isPart && (
        <button class="link" onClick={() => choose({ q: '', show: '' })}>
          Show all
        </button>
      )}
      <button class="button max-md:hidden" onClick={saveCsv} title="The rules that are shown, as CSV">
        CSV
      </button>
      <button class="button primary max-md:ml-auto" onClick={openHelper}>
        New<span class="max-md:hidden"> forward</span>…
      </button>
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
    <div class={`page ${rule === '' ? '' : 'beside group'}`}>
      <Mood />
      <main class="flex-1">
        {!isFirst && <Strip />}
        {!isFirst && <Toolbar openHelper={openHelper} />}
        {isFirst ? <FirstRun openHelper={openHelper} /> : <View />}
      </main>
      <footer class="py-3 text-sm text-dim max-md:hidden">
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
