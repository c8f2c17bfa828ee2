/** Asks at a steady beat whatever the answers, and remembers when it asked: gaps in the service, with their times. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Lab } from './lab.ts'
import { inetHost } from './plan.ts'
import { Stream, type AskOptions, type Reply } from './talk.ts'

export interface Watched {
  /** Who asks. */
  from: string
  endpoint: string
  /** What the answer has to hold. */
  answer: Partial<Reply>
  /** Keeps a stream open as well. */
  stream?: boolean
}

interface Asked {
  atMs: number
  failure: string | undefined
}

export interface Gap {
  what: string
  fromMs: number
  /** When the next connection that worked was begun. */
  toMs: number
  failures: string[]
}

export interface LostStream {
  what: string
  /** When its first packet was asked for; one that was opened while its way was broken dies when that is mended. */
  openedMs: number
  /** When the line was sent that never came back. */
  atMs: number
}

const BEAT_MS = 25
/** No line within this time, through all that TCP sends again meanwhile, and the stream counts as lost. */
const STREAM_TIMEOUT_MS = 7000

export const now = (): number => performance.now()

export class Watcher {
  readonly lost: LostStream[] = []
  private readonly asked: Map<Watched, Asked[]>
  private readonly pending = new Set<Promise<unknown>>()
  private readonly ended: Promise<unknown>
  private isOver = false
  /** The longest time that a line took through a stream and back. */
  worstStallMs = 0

  private constructor(
    private readonly lab: Lab,
    all: readonly Watched[],
    streams: readonly (readonly [Watched, Opened])[],
  ) {
    this.asked = new Map(all.map((one) => [one, []]))
    this.ended = Promise.all([
      ...all.map((one) => this.askOnAndOn(one)),
      ...streams.map(([one, stream]) => this.talkOnAndOn(one, stream)),
    ])
  }

  static async start(lab: Lab, all: readonly Watched[]): Promise<Watcher> {
    const kept = all.filter(({ stream }) => stream)
    const open = async (one: Watched) => [one, await openStream(lab, one)] as const
    return new Watcher(lab, all, await Promise.all(kept.map(open)))
  }

  get count(): number {
    return [...this.asked.values()].reduce((sum, all) => sum + all.length, 0)
  }

  /** Waits until everybody got answers to connections that were begun after this call. */
  async isWell(timeoutMs = 10_000): Promise<void> {
    const from = now()
    const fresh = (all: Asked[]) => all.filter(({ atMs }) => atMs >= from).slice(-3)
    const deadline = from + timeoutMs
    while (
      [...this.asked.values()].some(
        (all) => fresh(all).length < 3 || fresh(all).some(({ failure }) => failure),
      )
    ) {
      if (now() > deadline) return
      await sleep(BEAT_MS)
    }
  }

  /** Times without service that began within a span. */
  gaps(fromMs = 0, toMs = Infinity): Gap[] {
    return [...this.asked].flatMap(([one, all]) => gapsOf(title(one), all, fromMs, toMs))
  }

  async stop(): Promise<this> {
    this.isOver = true
    await this.ended
    await Promise.all(this.pending)
    return this
  }

  private async askOnAndOn(one: Watched): Promise<void> {
    while (!this.isOver) {
      const ask = this.askOnce(one, now())
      this.pending.add(ask)
      void ask.finally(() => this.pending.delete(ask))
      await sleep(BEAT_MS)
    }
  }

  private async askOnce(one: Watched, atMs: number): Promise<void> {
    const answer = await this.lab.ask(one.from, 'tcp', one.endpoint, newcomer(one))
    const isRight = typeof answer !== 'string' && isDeepStrictEqual({ ...answer, ...one.answer }, answer)
    const all = this.asked.get(one) ?? []
    all.push({ atMs, failure: isRight ? undefined : JSON.stringify(answer) })
    // Answers overtake each other: those of a gap come last.
    all.sort((a, b) => a.atMs - b.atMs)
  }

  private async talkOnAndOn(one: Watched, first: Opened): Promise<void> {
    let [stream, openedMs] = first
    while (!this.isOver) {
      const atMs = now()
      if (await stream.ping(STREAM_TIMEOUT_MS)) {
        this.worstStallMs = Math.max(this.worstStallMs, now() - atMs)
      } else {
        this.lost.push({ what: title(one), openedMs, atMs })
        await stream.close()
        ;[stream, openedMs] = await openStream(this.lab, one, () => this.isOver)
      }
      await sleep(BEAT_MS)
    }
    await stream.close()
  }
}

/** A stream and when it was asked for. */
type Opened = readonly [stream: Stream, atMs: number]

/** Tries until somebody answers. */
async function openStream(
  lab: Lab,
  { from, endpoint }: Watched,
  isOver = (): boolean => false,
): Promise<Opened> {
  for (;;) {
    const atMs = now()
    const stream = await lab.stream(from, endpoint)
    if (typeof stream.answer !== 'string' || isOver()) return [stream, atMs]
    await stream.close()
    await sleep(BEAT_MS)
  }
}

/** Below those that the kernel deals. */
const [FIRST_PORT, PORTS] = [2000, 30_000]
/** How many questions were asked, by `title`. */
const counts = new Map<string, number>()

/**
 * Each question comes from a host of its own, of a guest from a port of its own. A connection that was begun while somebody had taken
 * the zone away has got another port from the kernel; what its server goes on sending is a connection of the server's to
 * conntrack once the zone is back, and shuts that host, for up to five minutes, out from that port.
 */
function newcomer(one: Watched): AskOptions {
  const count = counts.get(title(one)) ?? 0
  counts.set(title(one), count + 1)
  return one.from === 'inet' ? { from: inetHost(count) } : { fromPort: FIRST_PORT + (count % PORTS) }
}

const title = ({ from, endpoint }: Watched): string => `${from} to ${endpoint}`

function gapsOf(what: string, all: readonly Asked[], fromMs: number, toMs: number): Gap[] {
  const gaps: Gap[] = []
  let open: Gap | undefined
  for (const { atMs, failure } of all) {
    if (failure !== undefined) {
      open ??= { what, fromMs: atMs, toMs: Infinity, failures: [] }
      open.failures.push(failure)
    } else if (open) {
      gaps.push({ ...open, toMs: atMs })
      open = undefined
    }
  }
  if (open) gaps.push(open)
  return gaps.filter((gap) => gap.fromMs >= fromMs && gap.fromMs <= toMs)
}
