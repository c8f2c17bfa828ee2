/** Asks without a pause, to find out whether anything blinks meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab } from './lab.ts'
import type { Stream } from './talk.ts'

interface Probe {
  endpoint: string
  /** Who has to answer. */
  server: string
}

interface Probed {
  /** How many connections were made, and as many lines were sent through streams that stay. */
  asked: number
  failures: string[]
}

const PAUSE_MS = 10

/** From the internet, for each endpoint: new TCP connections one after the other, and one that stays. */
export class Prober {
  private readonly probed: Probed = { asked: 0, failures: [] }
  private isOver = false
  private readonly ended: Promise<unknown>

  private constructor(
    private readonly lab: Lab,
    probes: readonly (readonly [Probe, Stream])[],
  ) {
    this.ended = Promise.all(probes.map(([probe, stream]) => this.go(probe, stream)))
  }

  static async start(lab: Lab, probes: readonly Probe[]): Promise<Prober> {
    const open = async (probe: Probe) => [probe, await lab.stream('inet', probe.endpoint)] as const
    return new Prober(lab, await Promise.all(probes.map(open)))
  }

  /** Ends it and tells how it went. */
  async stop(): Promise<Probed> {
    this.isOver = true
    await this.ended
    return this.probed
  }

  private async go({ endpoint, server }: Probe, stream: Stream): Promise<void> {
    while (!this.isOver) {
      const [answer, pong] = await Promise.all([this.lab.ask('inet', 'tcp', endpoint), stream.ping()])
      this.probed.asked += 1
      if (typeof answer === 'string' || answer.server !== server)
        this.probed.failures.push(`${endpoint} answered ${JSON.stringify(answer)}`)
      if (!pong) this.probed.failures.push(`the stream to ${endpoint} stalled`)
      await sleep(PAUSE_MS)
    }
    await stream.close()
  }
}
