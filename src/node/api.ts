/** The way to the node's API. It is known by its certificate, which lies on the node; a name on loopback would prove nothing. */
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { connect, type TLSSocket } from 'node:tls'

/** The part of a request that proves who asks, in the form in which the API takes it. */
export interface Credential {
  header: 'cookie' | 'authorization'
  value: string
}

/** GET of a path of the API with a credential. Throws when there is no answer, or not from the node. */
export type AskApi = (path: string, credential: Credential) => Promise<{ status: number; body: string }>

const TIMEOUT_MS = 5000
const MAX_ANSWER = 256 * 1024

/** Asks `base` (`https://127.0.0.1:8006`). It must show one of the certificates in `files`, which are read each time: they are renewed. */
export function apiAt(base: string, files: readonly string[]): AskApi {
  const { hostname, port } = new URL(base)
  const host = hostname.replace(/^\[|\]$/g, '')
  return async (path, { header, value }) => {
    const known = await certificates(files)
    // The very certificate is compared below, which is more than a chain to some authority would tell.
    const socket = connect({
      host,
      port: Number(port || 443),
      rejectUnauthorized: false,
      timeout: TIMEOUT_MS,
    })
    socket
      .on('timeout', () => socket.destroy(new Error('the API does not answer')))
      .on('error', () => undefined)
    try {
      // Nothing is said before the other end has proved that it is the node.
      await once(socket, 'secureConnect')
      const shown = socket.getPeerX509Certificate()?.raw
      if (!shown || !known.some((one) => one.equals(shown)))
        throw new Error('the API shows a certificate that is not this node’s')
      return await get(socket, path, { host, [header]: value })
    } finally {
      socket.destroy()
    }
  }
}

async function certificates(files: readonly string[]): Promise<Buffer[]> {
  const texts = await Promise.all(files.map((file) => readFile(file).catch(() => undefined)))
  const found = texts.flatMap((text) => (text ? [new X509Certificate(text).raw] : []))
  if (found.length === 0) throw new Error(`none of ${files.join(', ')} can be read`)
  return found
}

async function get(
  socket: TLSSocket,
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; body: string }> {
  const asked = request({ createConnection: () => socket, path, headers }).end()
  asked.on('error', () => undefined)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let body = ''
  for await (const text of response.setEncoding('utf8')) {
    body += String(text)
    if (body.length > MAX_ANSWER) throw new Error('the API says too much')
  }
  return { status: response.statusCode ?? 0, body }
}
