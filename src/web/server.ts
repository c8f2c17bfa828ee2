/** `pvenat web`: a handful of fixed paths, GET and HEAD, over what the service publishes. */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import { watch, type FSWatcher } from 'node:fs'
import type { Socket } from 'node:net'
import { basename } from 'node:path'
import { DEFAULT_TOP, renderMetrics } from '../show/metrics.ts'
import { askService, makeLooking, type NodeAnswer, type RuleAnswer } from './asking.ts'
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
  /** Undefined: whoever gets here may see it. */
  login: ((headers: IncomingMessage['headers'], source: string) => Promise<Standing>) | undefined
  /** Undefined: without TLS. */
  tls: { cert: Buffer; key: Buffer } | undefined
}

/** How often the run folder is looked at when it says nothing. */
const LOOK_MS = 1000

/** Nobody may be slow, large or many. */
const LIMITS: ServerOptions = {
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
  if (door.login) server.on('connection', limitSources())
  server.on('checkContinue', listener)
  server.on('clientError', (_error, socket) => socket.destroy())
  // A connection that the system could not give is one less; that the address is taken is heard by who listens.
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

function limitSources(): (socket: Socket) => void {
  const share = makeShare(MAX_CONNECTIONS_OF_ONE)
  return (socket) => {
    const source = sourceOf(socket.remoteAddress)
    if (!share.take(source)) return void socket.destroy()
    socket.once('close', () => share.give(source))
  }
}

/** Looks when the folder says that something was renamed in it, and by the clock: the folder may come and go. */
function keepLooking(live: Live, events: Events): () => void {
  const looking = makeLooking(live.runDir)
  let watcher: FSWatcher | undefined
  let isLooking = false
  let isAsked = false
  const look = async (): Promise<void> => {
    isAsked = true
    if (isLooking) return
    isLooking = true
    while (isAsked) {
      isAsked = false
      if (await live.refresh().catch(() => false)) events.tell(live.versions())
    }
    isLooking = false
  }
  const hint = (): void => void look()
  const byClock = (): void => {
    watcher ??= watchFolder(live.runDir, hint, () => (watcher = undefined))
    looking(events.isFollowed())
    hint()
  }
  byClock()
  const timer = setInterval(byClock, LOOK_MS)
  return () => {
    clearInterval(timer)
    looking(false)
    watcher?.close()
  }
}

/** Undefined while there is no such folder; `gone` is called when it ends. */
function watchFolder(dir: string, hint: () => void, gone: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(dir, (event, name) => {
      hint()
      // The folder itself was removed: what comes in its place is another one.
      if (event === 'rename' && name === basename(dir)) watcher.close()
    })
    return watcher.on('error', () => watcher.close()).on('close', gone)
  } catch {
    return undefined
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
  const standing = login ? await login(headers, source ?? '') : 'good'
  if (standing === 'unknown') return refuse(response, 401)
  if (standing === 'poor') return refuse(response, 403, 'this needs the privilege Sys.Audit on this node')
  if (standing === 'busy') return refuse(response, 503)
  const { path, id } = verdict
  if (path !== '/api/events') {
    const { type, body } = DOCUMENTS[path]
    return send(request, response, type, await body(live, id))
  }
  begin(response, 200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' })
  // An API that does not answer for the moment ends no stream.
  const isAllowed = async (): Promise<boolean> =>
    !login || !['unknown', 'poor'].includes(await login(headers, source ?? ''))
  if (method === 'HEAD' || !events.add(response, live.versions(), isAllowed, source)) response.end()
}

interface Served {
  type: string
  body: (live: Live, id: string) => Body | Promise<Body>
}

const JSON_TYPE = 'application/json'

const DOCUMENTS: Readonly<Record<Exclude<Path, '/api/events'>, Served>> = {
  '/': fixed('text/html; charset=utf-8', PAGE.html),
  '/app.js': fixed('text/javascript; charset=utf-8', PAGE.script),
  '/style.css': fixed('text/css; charset=utf-8', PAGE.style),
  '/icon.svg': fixed('image/svg+xml', PAGE.icon),
  '/metrics': {
    type: `${TEXT}; version=0.0.4`,
    body: ({ folder }) => textBody(renderMetrics(folder.published, Date.now(), DEFAULT_TOP)),
  },
  '/api/rule': {
    type: JSON_TYPE,
    body: async ({ history, runDir }, id) => {
      const minutes = pageMinutes(id, history, Date.now())
      return bodyOf({ minutes, now: await askService<RuleAnswer>(runDir, `rule ${id}`) })
    },
  },
  '/api/node': {
    type: JSON_TYPE,
    body: async ({ runDir }) => bodyOf(await askService<NodeAnswer>(runDir, 'node')),
  },
  '/api/status': { type: JSON_TYPE, body: (live) => live.body('status') },
  '/api/problems': { type: JSON_TYPE, body: (live) => live.body('problems') },
  '/api/list': { type: JSON_TYPE, body: (live) => live.body('list') },
  '/api/counters': { type: JSON_TYPE, body: (live) => live.body('counters') },
}

function fixed(type: string, text: string): Served {
  const body = textBody(text)
  return { type, body: () => body }
}
