/** What comes from the server: it says which documents are new, and those are fetched. */
import type { Problem } from '../published.ts'
import type { PageCounters, PageHistory, PageRow, PageStatus } from '../view.ts'

interface Documents {
  status: PageStatus
  problems: Problem[]
  list: PageRow[]
  counters: PageCounters
}

type Takers = { [Name in keyof Documents]: (value: Documents[Name]) => void }

/** Keeps calling the takers with what is new. `connected` tells whether the server is there. */
export function follow(takers: Takers, connected: (isThere: boolean) => void): void {
  const versions = new Map<string, string>()
  const busy = new Set<string>()
  const load = async <Name extends keyof Documents>(name: Name, version: string): Promise<void> => {
    if (versions.get(name) === version || busy.has(name)) return
    busy.add(name)
    try {
      const response = await fetch(`api/${name}`, { cache: 'no-store' })
      if (!response.ok) return
      takers[name]((await response.json()) as Documents[Name])
      // What was got may be newer than what was told; then it is told next, and got once more.
      versions.set(name, version)
    } catch {
      connected(false)
    } finally {
      busy.delete(name)
    }
  }
  let latest: Record<string, string> = {}
  const loadAll = async (): Promise<void> => {
    await Promise.all(
      (Object.keys(takers) as (keyof Documents)[]).map((name) => load(name, latest[name] ?? '')),
    )
    const isBehind = Object.entries(latest).some(([name, version]) => versions.get(name) !== version)
    if (isBehind) setTimeout(() => void loadAll(), 1000)
  }
  const source = new EventSource('api/events')
  source.onopen = () => connected(true)
  source.onerror = () => connected(false)
  source.onmessage = ({ data }: MessageEvent<string>) => {
    latest = JSON.parse(data) as Record<string, string>
    void loadAll()
  }
}

/** The last hour of some rules; none when the server is not there. */
export async function fetchHistory(ids: readonly string[]): Promise<PageHistory> {
  const none: PageHistory = { since: null, rules: {} }
  if (ids.length === 0) return none
  return fetch(`api/history?ids=${ids.join(',')}`)
    .then(async (response) => (response.ok ? ((await response.json()) as PageHistory) : none))
    .catch(() => none)
}
