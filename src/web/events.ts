/** Server-Sent Events: a browser is told which documents are new, and fetches them. */
import type { ServerResponse } from 'node:http'
import { makeShare } from './sources.ts'

const MAX_STREAMS = 32
/** Of one source, where sources are told apart. */
const MAX_STREAMS_OF_ONE = 8
/** Keeps proxies from ending a quiet stream; its login is checked as often. */
const PING_MS = 10_000
/** A browser that leaves more unread is cut off. */
const MAX_UNREAD = 64 * 1024

export interface Events {
  /**
   * False when there are too many already, of all or of a source. The head of the answer must have been written. The stream ends
   * when `isAllowed` says no: the browser asks again, and is then told why.
   */
  add: (to: ServerResponse, first: string, isAllowed: () => Promise<boolean>, source?: string) => boolean
  tell: (data: string) => void
  /** Whether anybody follows. */
  isFollowed: () => boolean
  close: () => void
}

export function makeEvents(pingMs = PING_MS): Events {
  const streams = new Map<ServerResponse, () => Promise<boolean>>()
  const share = makeShare(MAX_STREAMS_OF_ONE)
  const write = (text: string): void => {
    for (const one of streams.keys()) if (one.writableLength > MAX_UNREAD) one.destroy()
    for (const one of streams.keys()) one.write(text)
  }
  const ping = (): void => {
    write(': \n\n')
    for (const [one, isAllowed] of streams) void isAllowed().then((isGood) => isGood || one.end())
  }
  const pings = setInterval(ping, pingMs)
  return {
    add(to, first, isAllowed, source) {
      if (streams.size >= MAX_STREAMS) return false
      const giveBack = source === undefined ? () => undefined : share(source)
      if (!giveBack) return false
      streams.set(to, isAllowed)
      to.on('close', () => streams.delete(to) && giveBack())
      return to.write(`retry: 1000\ndata: ${first}\n\n`) || true
    },
    tell: (data) => write(`data: ${data}\n\n`),
    isFollowed: () => streams.size > 0,
    close() {
      clearInterval(pings)
      for (const one of streams.keys()) one.destroy()
    },
  }
}
