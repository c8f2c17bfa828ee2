/** Who asks: the node's own API is asked whether it knows the ticket or token. There are no accounts here. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { parseJson, field } from '../json.ts'
import type { AskApi, Credential } from '../node/api.ts'
import { makeShare } from './sources.ts'

/** `unknown`: not known to the API; `poor`: known, but without the privilege; `busy`: the API could not be asked. */
export type Standing = 'good' | 'poor' | 'unknown' | 'busy'

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
  const asking = new Map<string, Promise<Standing>>()
  const share = makeShare(MAX_ASKING_OF_ONE)

  const question = async (credential: Credential): Promise<Standing> => {
    const query = `path=${encodeURIComponent(path)}`
    const { status, body } = await ask(`/api2/json/access/permissions?${query}`, credential)
    if (status === 401) return 'unknown'
    if (status !== 200) return 'busy'
    return field(field(field(parseJson(body), 'data'), path), 'Sys.Audit') === undefined ? 'poor' : 'good'
  }
  /** The last answer, as long as a good one or another one holds. */
  const recall = (key: string, goodMs: number, otherMs: number): Standing | undefined => {
    const { at = 0, standing } = kept.get(key) ?? {}
    return clock() < at + (standing === 'good' ? goodMs : otherMs) ? standing : undefined
  }
  const remember = (key: string, standing: Standing): void => {
    kept.delete(key)
    if (kept.size >= MAX_KEPT) {
      // Many bad ones push no good one out.
      const [bad] = [...kept].find((one) => one[1].standing !== 'good') ?? [...kept.keys()]
      kept.delete(String(bad))
    }
    kept.set(key, { at: clock(), standing })
  }
  return async (headers, source) => {
    const credential = credentialOf(headers)
    if (!credential) return 'unknown'
    const key = createHash('sha256').update(credential.value).digest('base64')
    const known = recall(key, GOOD_MS, BAD_MS) ?? asking.get(key)
    if (known) return known
    const lastGood = (): Standing => recall(key, LAST_GOOD_MS, 0) ?? 'busy'
    const giveBack = asking.size < MAX_ASKING && share(source)
    if (!giveBack) return lastGood()
    const answer = question(credential)
      .catch((): Standing => 'busy')
      .then((standing) => {
        asking.delete(key)
        giveBack()
        if (standing === 'busy') return lastGood()
        remember(key, standing)
        return standing
      })
    asking.set(key, answer)
    return answer
  }
}
