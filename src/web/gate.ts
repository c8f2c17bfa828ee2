/** Which requests are answered at all, decided from their line and headers alone; who asks is login.ts. */
import type { IncomingHttpHeaders } from 'node:http'

/** As much of a request as is looked at. */
export type Asked = Record<'method' | 'url', string> & { headers: IncomingHttpHeaders }

/** The paths that there are. */
export const PATHS = [
  '/',
  '/app.js',
  '/style.css',
  '/icon.svg',
  '/metrics',
  '/api/events',
  '/api/status',
  '/api/problems',
  '/api/list',
  '/api/counters',
  '/api/rule',
  '/api/node',
] as const
export type Path = (typeof PATHS)[number]

type Verdict = { path: Path; id: string } | { refuse: 400 | 403 | 404 | 405 | 414 | 421 }

const MAX_URL = 4096

/**
 * The verdict on one request. `hosts`: names that it may be asked by; undefined where any will do, because a login is asked for.
 * The name is looked at because a page of somebody else, whose name is made to lead to the loopback, runs in the browser of
 * whoever is at the other end of the tunnel.
 */
export function judge({ method, url, headers }: Asked, hosts: ReadonlySet<string> | undefined): Verdict {
  if (url.length > MAX_URL) return { refuse: 414 }
  if (headers.host === undefined || (hosts && !hosts.has(headers.host.replace(/:\d+$/, '').toLowerCase())))
    return { refuse: 421 }
  if (isForeign(url, headers)) return { refuse: 403 }
  if (method !== 'GET' && method !== 'HEAD') return { refuse: 405 }
  if (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0')
    return { refuse: 400 }
  const [path = '', ...query] = url.split('?')
  const known = PATHS.find((one) => one === path)
  if (known === undefined || query.length > (known === '/api/rule' ? 1 : 0)) return { refuse: 404 }
  const id = known === '/api/rule' ? /^id=([A-Za-z0-9_-]{1,100})$/.exec(query[0] ?? '')?.[1] : ''
  return id === undefined ? { refuse: 400 } : { path: known, id }
}

/** Whether another site asks in the user's name. A link to the page is no such thing: who follows it sees the page, the site does not. */
function isForeign(url: string, { origin, host, ...headers }: IncomingHttpHeaders): boolean {
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) return true
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none') return false
  const isLink = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
  return !(isLink && url === '/')
}
