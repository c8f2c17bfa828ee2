/** `pvenat web`: a handful of fixed paths, GET and HEAD, over what the service publishes. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { DEFAULT_TOP, renderMetrics } from '../show/metrics.ts'
import { askService, makeLooking, type NodeAnswer, type RuleAnswer } from '../node/asking.ts'
import { begin, refuse, send, TEXT } from './answer.ts'
import { PAGE } from './assets.ts'
import { makeEvents, type Events } from './events.ts'
import { judge, type Path } from './gate.ts'
import { bodyOf, textBody, type Body, type Live } from './live.ts'
import type { Standing } from './login.ts'
import { makeShare, sourceOf } from './sources.ts'
import { pageMinutes } from './view.ts'

export interface Door {
  /** Names by which it may be asked; undefined: any, since a login is asked for. */
  hosts: ReadonlySet<string> | undefined
  /** Undefined: everybody who gets here may see it. */
  login: ((headers: IncomingMessage['headers'], source: string) => Promise<Standing>) | undefined
  /** Undefined: without TLS. */
  tls: { cert: Buffer; key: Buffer } | undefined
}

/** Pause between looks at the three files in the run folder. A look costs three calls of stat. */
const LOOK_MS = 250

/** Nobody may be slow, large or many. */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5000,
  requestTimeout: 5000,
  connectionsCheckingInterval: 1000,
  keepAliveTimeout: 5000,
}
const MAX_CONNECTIONS = 128
/** Of one source, where a login is asked for: elsewhere all come from this node, through tunnels and proxies. */
const MAX_CONNECTIONS_OF_ONE = 32
const SILENT_MS = 30_000

export interface Web {
  server: Server | TlsServer
  close: () => void
}

/** `pingMs`: how often streams are kept awake and their logins checked. */
export function makeWeb(live: Live, door: Door, pingMs?: number): Web {
  const events = makeEvents(pingMs)
  const listener = (request: IncomingMessage, response: ServerResponse): void =>
    void answer(request, response, live, door, events).catch(() => response.destroy())
  const server = door.tls
    ? createTlsServer({ ...LIMITS, ...door.tls, minVersion: 'TLSv1.2', handshakeTimeout: 5000 }, listener)
    : createServer(LIMITS, listener)
  server.maxConnections = MAX_CONNECTIONS
  server.setTimeout(SILENT_MS)
  const share = makeShare(MAX_CONNECTIONS_OF_ONE)
  server.on('connection', (socket: Socket) => {
    const giveBack = door.login ? share(sourceOf(socket.remoteAddress)) : () => undefined
    if (giveBack) socket.once('close', giveBack)
    else socket.destroy()
  })
  server.on('checkContinue', listener)
  server.on('clientError', (_error, socket) => socket.destroy())
  // A connection that the system could not give is one less; that the address is taken is heard by the command.
  server.on('error', () => undefined)
  const stopLooking = keepLooking(live, events)
  const close = (): void => {
    stopLooking()
    events.close()
    server.close()
    server.closeAllConnections()
  }
  return { server, close }
}

/** Tells browsers of what is new in the run folder, and the service of browsers that follow. */
function keepLooking(live: Live, events: Events): () => void {
  const setLooking = makeLooking(live.runDir)
  let timer: NodeJS.Timeout | undefined
  const look = async (): Promise<void> => {
    setLooking(events.isFollowed())
    if (await live.refresh().catch(() => false)) events.tell(live.versions())
    timer?.refresh()
  }
  timer = setTimeout(() => void look(), LOOK_MS)
  void look()
  return () => {
    clearTimeout(timer)
    timer = undefined
    setLooking(false)
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  live: Live,
  { hosts, login }: Door,
  events: Events,
): Promise<void> {
  const { method = '', url = '', headers } = request
  const verdict = judge({ method, url, headers }, hosts)
  if ('refuse' in verdict) return refuse(response, verdict.refuse)
  const source = login && sourceOf(request.socket.remoteAddress)
  const stand = async (): Promise<Standing> => login?.(headers, source ?? '') ?? 'good'
  const standing = await stand()
  if (standing === 'unknown') return refuse(response, 401)
  if (standing === 'poor') return refuse(response, 403, 'this needs the privilege Sys.Audit on this node')
  if (standing === 'busy') return refuse(response, 503)
  const { path, id } = verdict
  if (path !== '/api/events') return send(request, response, await DOCUMENTS[path](live, id))
  begin(response, 200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' })
  // An API that does not answer for the moment ends no stream.
  const isAllowed = async (): Promise<boolean> => ['good', 'busy'].includes(await stand())
  if (method === 'HEAD' || !events.add(response, live.versions(), isAllowed, source)) response.end()
}

type Served = (live: Live, id: string) => Body | Promise<Body>

const DOCUMENTS: Readonly<Record<Exclude<Path, '/api/events'>, Served>> = {
  '/': fixed('text/html; charset=utf-8', PAGE.html),
  '/app.js': fixed('text/javascript; charset=utf-8', PAGE.script),
  '/style.css': fixed('text/css; charset=utf-8', PAGE.style),
  '/icon.svg': fixed('image/svg+xml', PAGE.icon),
  '/metrics': ({ published }) =>
    textBody(renderMetrics(published, Date.now(), DEFAULT_TOP), `${TEXT}; version=0.0.4`),
  '/api/rule': async ({ history, runDir }, id) => {
    const minutes = pageMinutes(id, history, Date.now())
    return bodyOf({ minutes, now: await askService<RuleAnswer>(runDir, `rule ${id}`) })
  },
  '/api/node': async ({ runDir }) => bodyOf(await askService<NodeAnswer>(runDir, 'node')),
  '/api/status': (live) => live.body('status'),
  '/api/problems': (live) => live.body('problems'),
  '/api/list': (live) => live.body('list'),
  '/api/counters': (live) => live.body('counters'),
}

function fixed(type: string, text: string): Served {
  const body = textBody(text, type)
  return () => body
}
