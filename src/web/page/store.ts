/** What the page knows, and what is chosen in it: the latter stands in the address bar. */
import { computed, effect, signal, type Signal } from '@preact/signals'
import type { Problem } from '../../node/published.ts'
import type { PageCounters, PageRow, PageStatus } from '../view.ts'
import { filterItems, sortItems, toItem, type Item } from './model.ts'

/** As it stands in the address bar, where nothing is the usual. `show`: a group; `rule`: the id of the rule in the drawer. */
const USUAL = { tab: '', q: '', show: '', by: '', down: '', rule: '' }
type Chosen = typeof USUAL

const fromAddress = (): Chosen => ({
  ...USUAL,
  ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))),
})

export const chosen = signal(fromAddress())
addEventListener('popstate', () => (chosen.value = fromAddress()))

/** Chooses, and writes it into the address bar. A rule or a tab is a step that Back undoes. */
export function choose(change: Partial<Chosen>): void {
  const next = { ...chosen.value, ...change }
  const hash = `#${new URLSearchParams(Object.entries(next).filter(([, text]) => text)).toString()}`
  const isStep = next.tab !== chosen.value.tab || next.rule !== chosen.value.rule
  chosen.value = next
  if (hash !== location.hash) history[isStep ? 'pushState' : 'replaceState'](null, '', hash)
}

/** Undefined before the first answer; null: the service has not said anything. */
export const status = signal<PageStatus | undefined>(undefined)
export const problems = signal<readonly Problem[]>([])
const list = signal<readonly PageRow[]>([])
export const counters = signal<PageCounters>({ at: null, rules: {} })
export const clock = signal(Date.now())
setInterval(() => (clock.value = Date.now()), 1000)

/** `lost`: the server does not answer; `login`: it does not know the login any more; `forbidden`: the privilege is gone. */
export const link = signal<'open' | 'lost' | 'login' | 'forbidden'>('open')
/** A rule or a part of the map under the pointer or the focus. */
export const pointed = signal<string | undefined>(undefined)

export const items = computed(() => list.value.map(toItem))
export const hour = (id: string): number => counters.value.rules[id]?.[1] ?? 0
export const hourNow = (id: string): number => counters.peek().rules[id]?.[1] ?? 0
const found = computed(() => filterItems(items.value, chosen.value.q, chosen.value.show))
/** The order by connections would jump under the eye: it is that of the moment when it was asked for. */
export const visible = computed(() =>
  sortItems(found.value, chosen.value.by, chosen.value.down !== '', hourNow),
)
export const current = computed(() => items.value.find(({ id }) => id === chosen.value.rule))

/** Problems of a rule stand at its line. */
export const problemsOf = ({ row }: Item): Problem[] =>
  problems.value.filter(({ file, line }) => file === row.file && line === row.line)
export const ruleOf = ({ file, line }: Problem): Item | undefined =>
  items.value.find(({ row }) => row.file === file && row.line === line)

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

const DOCUMENTS: Readonly<Record<string, Signal>> = { status, list, problems, counters }
const versions: Record<string, string> = {}
let latest: Record<string, string> = {}

/** Fetches the documents of which there is a newer version. */
async function load(): Promise<void> {
  for (const [name, document] of Object.entries(DOCUMENTS)) {
    const version = latest[name] ?? ''
    const value = version === versions[name] ? undefined : await ask(name)
    if (value === undefined) continue
    versions[name] = version
    document.value = value
  }
}

/** Follows the server while somebody looks: the service counts more often while anybody is connected. */
export function follow(): void {
  let source: EventSource | undefined
  let loading = Promise.resolve()
  const open = (): void => {
    source?.close()
    source = undefined
    if (document.hidden) return
    source = new EventSource('api/events')
    source.onopen = () => (link.value = 'open')
    source.onmessage = ({ data }: MessageEvent<string>) => {
      latest = JSON.parse(data) as Record<string, string>
      loading = loading.then(load)
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
