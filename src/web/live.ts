/** What the server knows at any time: the parts for the page, each with a version, and who is to be told of new ones. */
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { makeHistory, type History } from './history.ts'
import { openFolder, type Folder } from './published.ts'
import { pageCounters, pageProblems, pageRows, pageStatus } from './view.ts'

const zip = promisify(gzip)

/** A document for the page, as it is sent. */
export interface Body {
  version: string
  text: string
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
  /** Version of every document: what the page is told when one changes. */
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
  let knownNetworks: string | undefined
  const refresh = async (): Promise<boolean> => {
    const changed = await folder.refresh()
    if (changed.includes('counters') && published.counters) history.sample(published.counters)
    const before = versions()
    const networks = JSON.stringify(published.status?.internal)
    const isNew: Record<Document, boolean> = {
      status: changed.includes('status'),
      problems: changed.includes('status'),
      // The list is long, and of the status only the networks matter to it.
      list: changed.includes('rows') || networks !== knownNetworks,
      counters: changed.includes('counters'),
    }
    knownNetworks = networks
    for (const name of DOCUMENTS) if (isNew[name]) bodies.set(name, bodyOf(make[name]()))
    return versions() !== before
  }
  const body = (name: Document): Body => bodies.get(name) as Body
  const versions = (): string =>
    JSON.stringify(Object.fromEntries(DOCUMENTS.map((name) => [name, body(name).version])))
  return { runDir, folder, history, body, versions, refresh }
}

/** A value as JSON. */
export function bodyOf(value: unknown): Body {
  return textBody(JSON.stringify(value))
}

export function textBody(text: string): Body {
  let zipped: Promise<Buffer> | undefined
  return {
    text,
    version: createHash('sha1').update(text).digest('base64url').slice(0, 12),
    zipped: () => (zipped ??= zip(text, { level: 4 })),
  }
}
