/** The way to the node's API. It is known by its certificate, which lies on the node; a name on loopback would prove nothing. */
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, type TLSSocket } from 'node:tls'
import type { AskApi } from './login.ts'

const TIMEOUT_MS = 5000
const MAX_ANSWER = 256 * 1024

/** Asks `base` (`https://127.0.0.1:8006`). It must show one of the certificates in `files`, which are read each time: they are renewed. */
export function apiAt(base: string, files: readonly string[]): AskApi {
  const { hostname, port } = new URL(base)
  const host = hostname.replace(/^\[|\]$/g, '')
  return async (path, { header, value }) => {
    const socket = await connectTo(host, Number(port || 443), await certificates(files))
    try {
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

/** Resolves only when the other end has proved that it is the node: nothing was said before. */
function connectTo(host: string, port: number, known: readonly Buffer[]): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // The very certificate is compared below, which is more than a chain to some authority would tell.
    const socket = connect({ host, port, rejectUnauthorized: false, timeout: TIMEOUT_MS })
    socket.once('error', reject)
    socket.once('timeout', () => socket.destroy(new Error('the API does not answer')))
    socket.once('secureConnect', () => {
      const shown = socket.getPeerX509Certificate()?.raw
      if (shown && known.some((one) => one.equals(shown))) resolve(socket)
      else socket.destroy(new Error('the API shows a certificate that is not this node’s'))
    })
  })
}

function get(
  socket: TLSSocket,
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ createConnection: () => socket, path, headers }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text
        if (body.length > MAX_ANSWER) socket.destroy(new Error('the API says too much'))
      })
      response.on('error', reject).on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    asked.setTimeout(TIMEOUT_MS, () => asked.destroy(new Error('the API does not answer')))
    asked.on('error', reject).end()
  })
}
