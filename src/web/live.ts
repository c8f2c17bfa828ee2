/** The documents for the page, each with a version, made anew of the parts that the service has published anew. */
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { makeHistory, type History } from './history.ts'
import { openFolder, type Published } from '../node/published.ts'
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

type Document = 'status' | 'problems' | 'list' | 'counters'

export interface Live {
  readonly runDir: string
  readonly published: Published
  readonly history: History
  body: (name: Document) => Body
  /** Version of every document: the page is told them when one changes. */
  versions: () => string
  /** Reads what is new; true when a document has changed. */
  refresh: () => Promise<boolean>
}

export function makeLive(runDir: string): Live {
  const { published, refresh: reread } = openFolder(runDir)
  const history = makeHistory()
  const make: Readonly<Record<Document, () => unknown>> = {
    status: () => pageStatus(published),
    problems: () => pageProblems(published),
    list: () => pageRows(published),
    counters: () => pageCounters(published.counters, history, Date.now()),
  }
  const bodies = {} as Record<Document, Body>
  const renew = (...names: Document[]): void => names.forEach((name) => (bodies[name] = bodyOf(make[name]())))
  renew('status', 'problems', 'list', 'counters')
  const versions = (): string =>
    JSON.stringify(Object.fromEntries(Object.entries(bodies).map(([name, { version }]) => [name, version])))
  const networks = (): string => JSON.stringify(published.status?.internal)
  const refresh = async (): Promise<boolean> => {
    const [before, knownNetworks] = [versions(), networks()]
    const changed = await reread()
    if (changed.includes('status')) renew('status', 'problems')
    // The list is long, and of the status only the networks matter to it.
    if (changed.includes('rows') || networks() !== knownNetworks) renew('list')
    if (changed.includes('counters') && published.counters) history.sample(published.counters)
    if (changed.includes('counters')) renew('counters')
    return versions() !== before
  }
  return { runDir, published, history, body: (name) => bodies[name], versions, refresh }
}

/** A value as JSON. */
export const bodyOf = (value: unknown): Body => textBody(JSON.stringify(value), 'application/json')

export function textBody(text: string, type: string): Body {
  let zipped: Promise<Buffer> | undefined
  const version = createHash('sha1').update(text).digest('base64url').slice(0, 12)
  return { type, text, version, zipped: () => (zipped ??= zip(text, { level: 4 })) }
}
