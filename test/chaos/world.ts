/** A node on which others work too, with forwards that nobody touches, a guest that goes out, and one guest whose file is edited. */
import {
  dockerDown,
  dockerUp,
  HangingFolder,
  node1Tree,
  PveFirewall,
  Pvenat,
  tamper,
  waitFor,
  Watcher,
  type Backend,
  type Watched,
} from '../lab/index.ts'
import { testNode, type TestNode } from '../packets/node.ts'
import { EDITS } from './edits.ts'

/** What nobody touches: to a guest behind pve-firewall's bridge, to one that needs our accept, to one without, and out. */
export const UNTOUCHED: readonly Watched[] = [
  { from: 'inet', endpoint: '203.0.113.2:8080', answer: { server: '108', port: 80 }, stream: true },
  { from: 'inet', endpoint: '203.0.113.2:822', answer: { server: '107', port: 22 } },
  { from: 'inet', endpoint: '203.0.113.2:1023', answer: { server: '105', port: 23 }, stream: true },
  { from: '107', endpoint: '203.0.113.1:443', answer: { server: 'inet', seenAs: '203.0.113.2' } },
]

/** A node on which the forwards of `UNTOUCHED` work; by `testNode`. */
export const busyNode = {
  rules: { 'nodes/pve1/host.fw': ['IN ACCEPT -dest 10.10.10.105 -p tcp -dport 23 # NAT 1023'] },
  serve: ['inet:443/tcp', '105:22,23/tcp', '107:22/tcp', '108:80/tcp'],
}

export class World {
  readonly node: TestNode
  firewall!: PveFirewall
  pve!: HangingFolder
  watcher!: Watcher
  /** What is ours with each of `EDITS`, without Docker and with it. */
  own!: Record<'alone' | 'docker', readonly string[]>
  /** What iptables-save and ip6tables-save said before pvenat came, to bring it back. */
  private saved: readonly string[] = []

  constructor(backend: Backend) {
    const prepare = () => this.prepare()
    this.node = testNode(backend, { ...busyNode, firewall: true, foreign: true, prepare, pvenat: 'run' })
  }

  private async prepare(): Promise<void> {
    const { lab, backend, tree } = this.node
    this.pve = await HangingFolder.mount(lab, 'pve', tree)
    this.node.pvenat = new Pvenat(lab, backend, this.pve.dir)
    this.firewall = new PveFirewall(lab, backend, node1Tree)
    await this.firewall.cycle()
    await this.firewall.cycle() // the second one wants what the fixture holds
    const saves = ['iptables', 'ip6tables'].map((family) => this.node.sh(`${family}-${backend}-save`))
    this.saved = await Promise.all(saves)
  }

  /** Learns what is to be in force, and begins to watch. */
  async begin(): Promise<void> {
    const { node } = this
    const alone = await this.learn()
    await tamper(node.lab, node.backend, dockerUp)
    const docker = await this.learn()
    await tamper(node.lab, node.backend, dockerDown)
    await node.repaired(alone[0] ?? '')
    this.own = { alone, docker }
    this.watcher = await Watcher.start(node.lab, UNTOUCHED)
  }

  async edit(index: number): Promise<void> {
    await this.pve.save('firewall/105.fw', EDITS[index] ?? '')
  }

  /** Puts everybody else's rules back as they were, over everything that there is, ours included. */
  async restoreSaved(): Promise<void> {
    const { lab, backend } = this.node
    for (const [i, family] of ['iptables', 'ip6tables'].entries())
      await lab.exec('pve', [`${family}-${backend}-restore`, '-w', '5'], { input: `${this.saved[i]}\n` })
  }

  /** What is ours with each of `EDITS`; the first one is in force in the end. */
  private async learn(): Promise<string[]> {
    const { pvenat } = this.node
    const own: string[] = []
    for (const index of [...EDITS.keys()].reverse()) {
      await this.edit(index)
      await waitFor(async () => (await pvenat.run('plan')).exitCode === 0 && isTaken(pvenat), {
        timeoutMs: 10_000,
        what: 'an edit to be in force',
      })
      own.unshift((await this.node.parts()).own)
    }
    return own
  }
}

/** Whether the plan that was empty was made with the service alive; a dead one would be waited for in vain. */
function isTaken({ service }: Pvenat): boolean {
  if (!service?.alive) throw new Error(`the service ended: ${service?.stdout}${service?.stderr}`)
  return true
}
