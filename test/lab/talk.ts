import type { Namespace } from './namespace.ts'

export type Proto = 'tcp' | 'udp'

/** A server's answer: who it is, on which port it was asked, and whom it took the asker for. */
export interface Reply {
  server: string
  port: number
  seenAs: string
  seenPort: number
}

/**
 * `nothing`: no answer in time. `refused`: a reset or ICMP port unreachable. `unreachable`: any other ICMP
 * unreachable, or no neighbour or route.
 */
type Silence = 'nothing' | 'refused' | 'unreachable'
export type Answer = Reply | Silence

export interface AskOptions {
  /** Local address. */
  from?: string
  /** Local port. */
  fromPort?: number
  /** Default 700. Nothing is sent twice within it, so a lost packet is an answer. */
  timeoutMs?: number
}

const defaultTimeoutMs = 700

/** Sends one TCP connection or UDP datagram to `endpoint` (`1.2.3.4:80`, `[::1]:80`) and tells who answered. */
export async function askFrom(
  asker: Namespace,
  proto: Proto,
  endpoint: string,
  options: AskOptions = {},
): Promise<Answer> {
  return readAnswer(await asker.request<string>('ask', { proto, ...question(endpoint, options) }))
}

/** A TCP connection that stays. */
export class Stream {
  private constructor(
    private readonly asker: Namespace,
    private readonly id: number,
    readonly answer: Answer,
  ) {}

  /** Connects; `answer` tells to whom, or that nobody answered. */
  static async open(asker: Namespace, endpoint: string, options: AskOptions = {}): Promise<Stream> {
    const args = question(endpoint, options)
    const { id, line } = await asker.request<{ id: number; line: string }>('openStream', args)
    return new Stream(asker, id, readAnswer(line))
  }

  /** Does a line of so many bytes sent now come back in time? A stalled line is sent again by TCP, so a later ping may work. */
  ping(timeoutMs = defaultTimeoutMs, bytes = 0): Promise<boolean> {
    return this.asker.request('pingStream', { stream: this.id, timeoutMs, bytes })
  }

  /** Ends the connection with a reset, so that it leaves no waiting states. */
  async close(): Promise<void> {
    await this.asker.request('closeStream', { stream: this.id })
  }
}

/** UDP datagrams that all go from one local port to one endpoint. */
export class Flow {
  private constructor(
    private readonly asker: Namespace,
    private readonly id: number,
  ) {}

  /** Binds the socket; nothing is sent yet. */
  static async open(asker: Namespace, endpoint: string, options: AskOptions = {}): Promise<Flow> {
    return new Flow(asker, await asker.request<number>('openFlow', question(endpoint, options)))
  }

  /** Sends one datagram and waits for the answer to it. */
  async ask(timeoutMs = defaultTimeoutMs): Promise<Answer> {
    return readAnswer(await this.asker.request<string>('askFlow', { flow: this.id, timeoutMs }))
  }

  async close(): Promise<void> {
    await this.asker.request('closeFlow', { flow: this.id })
  }
}

function question(endpoint: string, { timeoutMs = defaultTimeoutMs, ...from }: AskOptions) {
  const [, v6, v4, port] = /^(?:\[([\da-f:.]+)\]|([\d.]+)):(\d+)$/i.exec(endpoint) ?? []
  const host = v6 ?? v4
  if (host === undefined) throw new Error(`expected ADDRESS:PORT or [ADDRESS]:PORT, got ${endpoint}`)
  return { host, port: Number(port), timeoutMs, ...from }
}

function readAnswer(line: string): Answer {
  if (line === 'nothing' || line === 'refused' || line === 'unreachable') return line
  const [server, port, seenAs, seenPort] = line.split(' ')
  if (server === undefined || seenAs === undefined) throw new Error(`not the answer of a lab server: ${line}`)
  return { server, port: Number(port), seenAs, seenPort: Number(seenPort) }
}
