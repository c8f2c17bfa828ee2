/** Who asks: the node's own API is asked whether it knows the ticket or token. There are no accounts here. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { parseJson, field } from '../json.ts'
import { makeShare } from './sources.ts'

/** What of a request proves who asks, in the form in which the API takes it. */
export interface Credential {
  header: 'cookie' | 'authorization'
  value: string
}

/** `unknown`: not known to the API; `poor`: known, but without the privilege; `busy`: the API could not be asked. */
export type Standing = 'good' | 'poor' | 'unknown' | 'busy'

/** GET of a path of the API with a credential. Throws when there is no answer, or not from whom it should be. */
export type AskApi = (path: string, credential: Credential) => Promise<{ status: number; body: string }>

/** What a ticket or a token looks like; anything else is not worth a question. */
const TICKET = /^PVE(:|%3A)[^\s;,"\\]{1,1500}$/i
const TOKEN = /^PVEAPIToken=[^\s;,"\\!=]{1,200}![A-Za-z][A-Za-z0-9._-]{1,127}=[0-9a-f-]{36}$/i
const COOKIES = ['__Host-PVEAuthCookie', 'PVEAuthCookie']

/** The credential of a request: the cookie of the GUI, or an API token. */
export function credentialOf({ cookie, authorization }: IncomingHttpHeaders): Credential | undefined {
  if (authorization !== undefined)
    return TOKEN.test(authorization) ? { header: 'authorization', value: authorization } : undefined
  const pairs = (cookie ?? '').split(';').map((pair) => pair.trim())
  for (const name of COOKIES) {
    const pair = pairs.find((one) => one.startsWith(`${name}=`))
    const ticket = pair?.slice(name.length + 1)
    if (ticket !== undefined && TICKET.test(ticket)) return { header: 'cookie', value: `${name}=${ticket}` }
  }
  return undefined
}

const GOOD_MS = 10_000
const BAD_MS = 2_000
const MAX_KEPT = 1000
/** Questions to the API at one time, and those of one source among them. */
const MAX_ASKING = 8
const MAX_ASKING_OF_ONE = 4
/** So long a good answer stands while the API is busy; a ticket lives for two hours. */
const LAST_GOOD_MS = 5 * 60_000

/** Sys.Audit on the node is asked for: what is shown is of all its guests. */
export function makeLogin(
  ask: AskApi,
  node: string,
  clock: () => number,
): (headers: IncomingHttpHeaders, source: string) => Promise<Standing> {
  const path = `/nodes/${node}`
  const kept = new Map<string, { at: number; standing: Standing }>()
  const share = makeShare(MAX_ASKING_OF_ONE)
  const asking = new Map<string, Promise<Standing>>()

  const question = async (credential: Credential): Promise<Standing> => {
    const query = `path=${encodeURIComponent(path)}`
    const { status, body } = await ask(`/api2/json/access/permissions?${query}`, credential)
    if (status === 401) return 'unknown'
    if (status !== 200) return 'busy'
    return field(field(field(parseJson(body), 'data'), path), 'Sys.Audit') === undefined ? 'poor' : 'good'
  }
  const isFresh = ({ at, standing }: { at: number; standing: Standing }): boolean =>
    clock() < at + (standing === 'good' ? GOOD_MS : BAD_MS)
  /** Many bad ones push no good one out. */
  const makeRoom = (): void => {
    if (kept.size < MAX_KEPT) return
    const [bad] = [...kept].find(([, { standing }]) => standing !== 'good') ?? [...kept.keys()]
    kept.delete(String(bad))
  }
  const lastGood = (key: string): Standing => {
    const last = kept.get(key)
    return last?.standing === 'good' && clock() < last.at + LAST_GOOD_MS ? 'good' : 'busy'
  }
  const remember = (key: string, standing: Standing): Standing => {
    if (standing === 'busy') return lastGood(key)
    kept.delete(key)
    makeRoom()
    kept.set(key, { at: clock(), standing })
    return standing
  }
  return async (headers, source) => {
    const credential = credentialOf(headers)
    if (!credential) return 'unknown'
    const key = createHash('sha256').update(credential.value).digest('base64')
    const known = kept.get(key)
    if (known && isFresh(known)) return known.standing
    const running = asking.get(key)
    if (running) return running
    if (asking.size >= MAX_ASKING || !share.take(source)) return lastGood(key)
    const answer = question(credential)
      .catch((): Standing => 'busy')
      .then((standing) => remember(key, standing))
      .finally(() => {
        asking.delete(key)
        share.give(source)
      })
    asking.set(key, answer)
    return answer
  }
}
