/** The service at work on a live node, and the edits that it is to follow. */
import { join } from 'node:path'
import { saveLikeGui, waitFor, type Backend, type Lab, type Running } from '../lab/index.ts'
import { EXTERNAL, forwardsOf, FREE_PORT, FREE_PORTS, guestFile, type BenchForward } from './generate.ts'
import { install, liveNode, type Installed } from './nodes.ts'

/** On a busy machine; the first look at the largest tree. */
const START_MS = 120_000
const EFFECT_MS = 60_000

export interface Edit {
  /** From the save to the first connection at the new place. */
  effectMs: number
  /** How long the service was at it. */
  passMs: number
}

export class Served {
  private edits = 0

  private constructor(
    readonly lab: Lab,
    private readonly installed: Installed,
    readonly service: Running,
    readonly forwards: readonly BenchForward[],
  ) {}

  /** `isShared`: edits come from another node of the cluster. */
  static async start(backend: Backend, count: number, isShared = false): Promise<Served> {
    const forwards = forwardsOf(count)
    const lab = await liveNode(forwards)
    const installed = await install(lab, 'pve', backend, count, isShared)
    const [first] = forwards
    if (first) await lab.serve(String(first.vmid), 'tcp', first.port)
    return new Served(lab, installed, await installed.pvenat.start({}, START_MS), forwards)
  }

  /**
   * In the file of the first guest its first forward gets another external port. Ends when the service is at rest again.
   */
  async edit(): Promise<Edit> {
    const [first] = this.forwards
    if (!first) throw new Error('expected a forward, got none')
    const external = FREE_PORT + (this.edits++ % FREE_PORTS)
    const own = this.forwards.filter(({ vmid }) => vmid === first.vmid)
    const savedAt = Date.now()
    const start = performance.now()
    const text = guestFile([{ ...first, external }, ...own.slice(1)])
    await saveLikeGui(this.installed.tree, join('firewall', `${first.vmid}.fw`), text)
    const isThere = async (): Promise<boolean> => {
      const answer = await this.lab.ask('inet', 'tcp', `${EXTERNAL}:${external}`, { timeoutMs: 200 })
      return typeof answer !== 'string' && answer.server === String(first.vmid)
    }
    await waitFor(isThere, { timeoutMs: EFFECT_MS, intervalMs: 1, what: 'the first packet at the new place' })
    const effectMs = performance.now() - start
    // By time, not by number: what was published last may be older than what was done last.
    const isDone = async (): Promise<boolean> => Date.parse((await this.status()).lastApply) >= savedAt
    await waitFor(isDone, { timeoutMs: EFFECT_MS, what: 'the service to be done' })
    return { effectMs, passMs: (await this.status()).applyMs }
  }

  private async status(): Promise<{ lastApply: string; applyMs: number }> {
    const [text] = await this.lab.ns('pve').read(['/run/pvenat/status.json'])
    return JSON.parse(text ?? '') as { lastApply: string; applyMs: number }
  }

  async stop(): Promise<void> {
    await this.service.stop()
    await this.installed.remove()
    await this.lab.stop()
  }
}
