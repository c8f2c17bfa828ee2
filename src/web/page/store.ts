/** What the page knows, and what is chosen in it: the latter stands in the address bar. */
import { computed, effect, signal } from '@preact/signals'
import type { Problem } from '../published.ts'
import type { PageCounters, PageRow, PageStatus } from '../view.ts'
import {
  COLUMNS,
  filterItems,
  GROUPS,
  sortItems,
  toItem,
  type Column,
  type Group,
  type Item,
} from './model.ts'

export const TABS = ['rules', 'map', 'problems'] as const
type Tab = (typeof TABS)[number]

interface Chosen {
  tab: Tab
  query: string
  group: Group | undefined
  by: Column
  down: boolean
  /** Id of the rule in the drawer. */
  rule: string | undefined
}

const among = <T extends string>(list: readonly T[], text: string | null): T | undefined =>
  list.find((one) => one === text)

function fromAddress(): Chosen {
  const params = new URLSearchParams(location.hash.slice(1))
  return {
    tab: among(TABS, params.get('tab')) ?? 'rules',
    query: params.get('q') ?? '',
    group: among(GROUPS, params.get('show')),
    by: among(Object.keys(COLUMNS) as Column[], params.get('by')) ?? 'state',
    down: params.get('down') === '1',
    rule: params.get('rule') ?? undefined,
  }
}

export const chosen = signal<Chosen>(fromAddress())
addEventListener('popstate', () => (chosen.value = fromAddress()))

/** Chooses, and writes it into the address bar. A rule or a tab is a step that Back undoes. */
export function choose(change: Partial<Chosen>): void {
  const next = { ...chosen.value, ...change }
  const { tab, query, group, by, down, rule } = next
  const all = { tab: tab === 'rules' ? '' : tab, q: query, show: group, by: by === 'state' ? '' : by, rule }
  const pairs = Object.entries({ ...all, down: down ? '1' : '' }).filter(([, text]) => text)
  const hash = `#${new URLSearchParams(pairs as [string, string][]).toString()}`
  const isStep = tab !== chosen.value.tab || rule !== chosen.value.rule
  chosen.value = next
  if (hash !== location.hash) history[isStep ? 'pushState' : 'replaceState'](null, '', hash)
}

/** Undefined before the first answer; null: the service has not said anything. */
export const status = signal<PageStatus | undefined>(undefined)
export const problems = signal<readonly Problem[]>([])
export const items = signal<readonly Item[]>([])
export const counters = signal<PageCounters>({ at: null, since: null, rules: {} })
export const clock = signal(Date.now())
setInterval(() => (clock.value = Date.now()), 1000)

/** `lost`: the server does not answer; `login`: it does not know the login any more; `forbidden`: the privilege is gone. */
export const link = signal<'opening' | 'open' | 'lost' | 'login' | 'forbidden'>('opening')
/** A rule or a part of the map under the pointer or the focus. */
export const pointed = signal<string | undefined>(undefined)

export const hour = (id: string): number => counters.value.rules[id]?.[1] ?? 0
const found = computed(() => filterItems(items.value, chosen.value.query, chosen.value.group))
/** The order by connections would jump under the eye: it is that of the moment when it was asked for. */
export const visible = computed(() =>
  sortItems(found.value, chosen.value.by, chosen.value.down, (id) => counters.peek().rules[id]?.[1] ?? 0),
)
export const current = computed(() => items.value.find(({ id }) => id === chosen.value.rule))

/** Problems of a rule stand at its line. */
export const problemsOf = ({ row }: Item): Problem[] =>
  problems.value.filter(({ file, line }) => file === row.file && line === row.line)
export const ruleOf = ({ file, line }: Problem): Item | undefined =>
  items.value.find(({ row }) => row.file === file && row.line === line)

const TAKERS: Readonly<Record<string, (value: never) => void>> = {
  status: (value: PageStatus) => (status.value = value),
  problems: (value: Problem[]) => (problems.value = value),
  list: (rows: PageRow[]) => (items.value = rows.map(toItem)),
  counters: (value: PageCounters) => (counters.value = value),
}

/** Asks the server; undefined when it does not answer, and then `link` says why. */
export async function ask<T>(path: string): Promise<T | undefined> {
  try {
    const response = await fetch(`api/${path}`, { cache: 'no-store' })
    if (response.ok) return (await response.json()) as T
    if (response.status === 401) link.value = 'login'
    if (response.status === 403) link.value = 'forbidden'
  } catch {
    link.value = 'lost'
  }
  return undefined
}

const versions = new Map<string, string>()
const busy = new Set<string>()
let latest: Record<string, string> = {}

/** Fetches what is new; once more when newer was told meanwhile. */
async function load(name: string): Promise<void> {
  if (versions.get(name) === latest[name] || busy.has(name)) return
  busy.add(name)
  const version = latest[name] ?? ''
  const value = await ask(name)
  busy.delete(name)
  if (value === undefined) return
  versions.set(name, version)
  TAKERS[name]?.(value as never)
  await load(name)
}

/** Follows the server while somebody looks: the service counts more often while anybody is connected. */
export function follow(): void {
  let source: EventSource | undefined
  const open = (): void => {
    source?.close()
    source = undefined
    if (document.hidden) return
    source = new EventSource('api/events')
    source.onopen = () => (link.value = 'open')
    source.onmessage = ({ data }: MessageEvent<string>) => {
      latest = JSON.parse(data) as Record<string, string>
      for (const name of Object.keys(TAKERS)) void load(name)
    }
    source.onerror = () => {
      link.value = 'lost'
      // Its status says whether it is the login.
      void ask('status')
      if (source?.readyState === EventSource.CLOSED) setTimeout(open, 2000)
    }
  }
  document.addEventListener('visibilitychange', open)
  open()
}

effect(() => {
  const bad = items.value.filter(({ group }) => group === 'errors').length
  document.title = `${bad > 0 ? `(${bad}) ` : ''}NAT${status.value ? ` on ${status.value.node}` : ''}`
})
