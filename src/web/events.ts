/** Server-Sent Events: whoever looks at the page is told which documents are new; they fetch what they want of them. */
import type { ServerResponse } from 'node:http'
import { makeShare } from './sources.ts'

const MAX_STREAMS = 32
/** Of one source, where sources are told apart. */
const MAX_STREAMS_OF_ONE = 8
/** Keeps proxies from ending a quiet stream. */
const PING_MS = 10_000
/** Then the browser asks anew, and with it the login is looked at anew. */
const LIFE_MS = 5 * 60_000
/** Whoever does not read what is sent is left. */
const MAX_UNREAD = 64 * 1024

export interface Events {
  /** False when there are too many already, of all or of a source. The head of the answer must have been written. */
  add: (response: ServerResponse, first: string, source?: string) => boolean
  tell: (data: string) => void
  /** Whether anybody follows. */
  isFollowed: () => boolean
  close: () => void
}

export function makeEvents(): Events {
  const streams = new Set<ServerResponse>()
  const share = makeShare(MAX_STREAMS_OF_ONE)
  const write = (text: string): void => {
    for (const one of streams) {
      if (one.writableLength > MAX_UNREAD) one.destroy()
      else one.write(text)
    }
  }
  const pings = setInterval(() => write(': \n\n'), PING_MS)
  const add = (response: ServerResponse, first: string, source?: string): boolean => {
    if (streams.size >= MAX_STREAMS || (source !== undefined && !share.take(source))) return false
    const life = setTimeout(() => response.end(), LIFE_MS)
    streams.add(response)
    response.on('close', () => {
      clearTimeout(life)
      streams.delete(response)
      if (source !== undefined) share.give(source)
    })
    response.write(`retry: 1000\ndata: ${first}\n\n`)
    return true
  }
  const close = (): void => {
    clearInterval(pings)
    for (const one of streams) one.destroy()
  }
  return { add, isFollowed: () => streams.size > 0, tell: (data) => write(`data: ${data}\n\n`), close }
}
