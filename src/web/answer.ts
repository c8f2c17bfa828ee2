/** How an answer is written: the headers of all, and compression. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Body } from './live.ts'

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'bad request',
  401: 'Log in to the Proxmox VE GUI of this node with this browser, then load this page again. Programs send an API token.',
  403: 'not from there',
  404: 'there is nothing here',
  405: 'only GET and HEAD',
  414: 'too long',
  421: 'not by this name; see --host',
  503: 'not now; try again',
}

export const TEXT = 'text/plain; charset=utf-8'

/** Begins an answer with the headers of all. */
export function begin(response: ServerResponse, status: number, headers: Record<string, string>): void {
  response.writeHead(status, { ...HEADERS, ...headers })
}

/** A short text; of refusals the connection ends with it. */
export function refuse(response: ServerResponse, status: number, reason = REASONS[status]): void {
  const allow: Record<string, string> = status === 405 ? { Allow: 'GET, HEAD' } : {}
  begin(response, status, { 'Content-Type': TEXT, Connection: 'close', ...allow })
  response.end(`${reason ?? ''}\n`)
}

/** A whole document. */
export async function send(request: IncomingMessage, response: ServerResponse, body: Body): Promise<void> {
  const isZipped = /\bgzip\b/.test(String(request.headers['accept-encoding'])) && body.text.length > 1000
  const bytes = isZipped ? await body.zipped() : Buffer.from(body.text)
  const encoding: Record<string, string> = isZipped ? { 'Content-Encoding': 'gzip' } : {}
  const length = String(bytes.length)
  begin(response, 200, {
    'Content-Type': body.type,
    'Content-Length': length,
    Vary: 'Accept-Encoding',
    ...encoding,
  })
  response.end(bytes)
}
