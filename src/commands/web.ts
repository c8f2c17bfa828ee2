/** `web`: the page and the metrics over HTTP. It reads the run folder and nothing else of the service. */
import { UsageError } from '../io.ts'
import { chmod, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, type Server } from 'node:net'
import type { Paths } from '../node/look.ts'
import { apiAt } from '../node/api.ts'
import { parseListen, type Listen } from './listen.ts'
import { makeLive } from '../web/live.ts'
import { makeLogin } from '../web/login.ts'
import { makeWeb, type Door } from '../web/server.ts'
import type { Context } from './context.ts'

export const DEFAULT_LISTEN = '127.0.0.1:8186'
export const DEFAULT_API = 'https://127.0.0.1:8006'
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]']
/** A renewed certificate is taken within this time. */
const RENEW_MS = 60_000

export async function webCommand({ io, paths, values }: Context): Promise<number> {
  const text = (name: string): string | undefined => values[name] as string | undefined
  const listen = parseListen(text('listen') ?? DEFAULT_LISTEN)
  const pair = await certificatePair(paths, text('cert'), text('key'))
  const door = listen.local
    ? localDoor((text('host') ?? '').split(','))
    : await remoteDoor(paths, text('pve-api') ?? DEFAULT_API, pair)
  const web = makeWeb(makeLive(paths.runDir), door)
  const { server } = web
  await open(server, listen).catch((error: Error) => {
    web.close()
    throw error
  })
  const at = server.address()
  const where = at === null || typeof at === 'string' ? `unix:${at}` : shown(at)
  io.stdout(`the page is at ${where}${door.tls ? ', for those who are logged in to Proxmox VE' : ''}\n`)
  const renew = setInterval(() => {
    if (!('setSecureContext' in server)) return
    // Of a pair that is gone, or half renewed, the one that is in use goes on.
    void readPair(pair)
      .then((fresh) => server.setSecureContext(fresh))
      .catch(() => undefined)
  }, RENEW_MS)
  return new Promise((resolve) => {
    const stop = (): void => {
      clearInterval(renew)
      web.close()
      resolve(0)
    }
    process.once('SIGTERM', stop).once('SIGINT', stop)
  })
}

const shown = ({ family, address, port }: { family: string; address: string; port: number }): string =>
  family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`

/** Clients at the loopback or the socket are on the node, or come through a proxy that its administrator set up. */
function localDoor(names: readonly string[]): Door {
  const given = names.map((name) => name.trim().toLowerCase()).filter((name) => name !== '')
  return { hosts: new Set([...LOOPBACK_NAMES, ...given]), login: undefined, tls: undefined }
}

async function remoteDoor({ pveDir, node }: Paths, api: string, pair: Pair): Promise<Door> {
  if (!/^https:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?\/?$/.test(api))
    throw new UsageError(`--pve-api takes https://ADDRESS:PORT, not '${api}'`)
  const shows = ['pveproxy-ssl.pem', 'pve-ssl.pem'].map((name) => join(pveDir, 'local', name))
  const login = makeLogin(apiAt(api, shows), node, () => performance.now())
  return { hosts: undefined, login, tls: await readPair(pair) }
}

interface Pair {
  cert: string
  key: string
}

/** The pair that is given, else the one that the GUI of this node shows. */
async function certificatePair(
  { pveDir }: Paths,
  cert: string | undefined,
  key: string | undefined,
): Promise<Pair> {
  if ((cert === undefined) !== (key === undefined)) throw new UsageError('--cert and --key go together')
  if (cert !== undefined && key !== undefined) return { cert, key }
  const local = (name: string): string => join(pveDir, 'local', name)
  const own = await stat(local('pveproxy-ssl.key')).catch(() => undefined)
  const name = own ? 'pveproxy-ssl' : 'pve-ssl'
  return { cert: local(`${name}.pem`), key: local(`${name}.key`) }
}

async function readPair({ cert, key }: Pair): Promise<{ cert: Buffer; key: Buffer }> {
  return { cert: await readFile(cert), key: await readFile(key) }
}

async function open(server: Server, listen: Listen): Promise<void> {
  if (listen.kind === 'unix') await removeDeadSocket(listen.path)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    if (listen.kind === 'unix') server.listen(listen.path, resolve)
    else server.listen(listen.port, listen.host, resolve)
  })
  // For the owner and its group: www-data, say, which a proxy can be in.
  if (listen.kind === 'unix') await chmod(listen.path, 0o660)
}

/** A socket that nobody listens at any more, of a process that was killed. */
async function removeDeadSocket(path: string): Promise<void> {
  if (!(await stat(path).catch(() => undefined))?.isSocket()) return
  const isAlive = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => resolve(true)).once('error', () => resolve(false))
    socket.unref()
  })
  if (!isAlive) await rm(path)
}
