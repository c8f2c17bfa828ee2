/** The service at work on a live node, and the edits that it is to follow. */
import { join } from 'node:path'
import { saveLikeGui, waitFor, type Backend, type Lab, type Running } from '../lab/index.ts'
import { EXTERNAL, forwardsOf, FREE_PORT, FREE_PORTS, guestFile, type BenchForward } from './generate.ts'
import { install, liveNode, type Installed } from './nodes.ts'

/** On a busy machine; the first look at the largest tree. */
const START_MS = 120_000
const EFFECT_MS = 60_000

export class Served {
  private edits = 0

  private constructor(
    readonly lab: Lab,
    private readonly installed: Installed,
    readonly service: Running,
    readonly forwards: readonly BenchForward[],
  ) {}

  static async start(backend: Backend, count: number): Promise<Served> {
    const forwards = forwardsOf(count)
    const lab = await liveNode(forwards)
    const installed = await install(lab, 'pve', backend, count)
    const [first] = forwards
    if (first) await lab.serve(String(first.vmid), 'tcp', first.port)
    return new Served(lab, installed, await installed.pvenat.start({}, START_MS), forwards)
  }

  /**
   * In the file of the first guest its first forward gets another external port. Milliseconds from the save to the first
   * connection that goes there.
   */
  async edit(): Promise<number> {
    const [first] = this.forwards
    if (!first) throw new Error('expected a forward, got none')
    const external = FREE_PORT + (this.edits++ % FREE_PORTS)
    const own = this.forwards.filter(({ vmid }) => vmid === first.vmid)
    const said = this.service.stdout.length
    const start = performance.now()
    const text = guestFile([{ ...first, external }, ...own.slice(1)])
    await saveLikeGui(this.installed.tree, join('firewall', `${first.vmid}.fw`), text)
    const isThere = async (): Promise<boolean> => {
      const answer = await this.lab.ask('inet', 'tcp', `${EXTERNAL}:${external}`, { timeoutMs: 200 })
      return typeof answer !== 'string' && answer.server === String(first.vmid)
    }
    await waitFor(isThere, { timeoutMs: EFFECT_MS, intervalMs: 1, what: 'the first packet at the new place' })
    const ms = performance.now() - start
    // The next edit is to find the service at rest.
    await waitFor(() => this.service.stdout.includes('in force: ', said), { what: 'the service to be done' })
    return ms
  }

  async stop(): Promise<void> {
    await this.service.stop()
    await this.lab.stop()
    await this.installed.remove()
  }
}
