/** The documents for the page, each with a version, made anew of the parts that the service has published anew. */
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { makeHistory, type History } from './history.ts'
import { openFolder, type Folder } from '../node/published.ts'
import { pageCounters, pageProblems, pageRows, pageStatus } from './view.ts'

const zip = promisify(gzip)

/** A document as it is sent. */
export interface Body {
  type: string
  text: string
  version: string
  /** Made at the first request. */
  zipped: () => Promise<Buffer>
}

const DOCUMENTS = ['status', 'problems', 'list', 'counters'] as const
type Document = (typeof DOCUMENTS)[number]

export interface Live {
  readonly runDir: string
  readonly folder: Folder
  readonly history: History
  body: (name: Document) => Body
  /** Version of every document: the page is told them when one changes. */
  versions: () => string
  /** Reads what is new; true when a document has changed. */
  refresh: () => Promise<boolean>
}

export function makeLive(runDir: string): Live {
  const folder = openFolder(runDir)
  const history = makeHistory()
  const { published } = folder
  const make: Record<Document, () => unknown> = {
    status: () => pageStatus(published),
    problems: () => pageProblems(published),
    list: () => pageRows(published),
    counters: () => pageCounters(published.counters, history, Date.now()),
  }
  const bodies = new Map(DOCUMENTS.map((name) => [name, bodyOf(make[name]())]))
  const body = (name: Document): Body => bodies.get(name) as Body
  const versions = (): string =>
    JSON.stringify(Object.fromEntries(DOCUMENTS.map((name) => [name, body(name).version])))
  const networks = (): string => JSON.stringify(published.status?.internal)
  const refresh = async (): Promise<boolean> => {
    const [before, knownNetworks] = [versions(), networks()]
    const changed = await folder.refresh()
    if (changed.includes('counters') && published.counters) history.sample(published.counters)
    const isNew: Record<Document, boolean> = {
      status: changed.includes('status'),
      problems: changed.includes('status'),
      // The list is long, and of the status only the networks matter to it.
      list: changed.includes('rows') || networks() !== knownNetworks,
      counters: changed.includes('counters'),
    }
    for (const name of DOCUMENTS) if (isNew[name]) bodies.set(name, bodyOf(make[name]()))
    return versions() !== before
  }
  return { runDir, folder, history, body, versions, refresh }
}

/** A value as JSON. */
export const bodyOf = (value: unknown): Body => textBody(JSON.stringify(value), 'application/json')

export function textBody(text: string, type: string): Body {
  let zipped: Promise<Buffer> | undefined
  const version = createHash('sha1').update(text).digest('base64url').slice(0, 12)
  return { type, text, version, zipped: () => (zipped ??= zip(text, { level: 4 })) }
}
