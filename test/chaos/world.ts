/** A node on which others work too, with forwards that nobody touches, a guest that goes out, and one guest whose file is edited. */
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import {
  addForeignRules,
  copyTree,
  createLab,
  dockerDown,
  dockerUp,
  loadPveFirewall,
  node1Tree,
  PveFirewall,
  Pvenat,
  readParts,
  removeTree,
  saveLikeGui,
  snapshot,
  tamper,
  waitFor,
  Watcher,
  type Backend,
  type Lab,
  type Watched,
} from '../lab/index.ts'
import { EDITS, withForward } from './edits.ts'

/** What nobody touches: to a guest behind pve-firewall's bridge, to one that needs our accept, to one without, and out. */
export const UNTOUCHED: readonly Watched[] = [
  { from: 'inet', endpoint: '203.0.113.2:8080', answer: { server: '108', port: 80 }, stream: true },
  { from: 'inet', endpoint: '203.0.113.2:822', answer: { server: '107', port: 22 } },
  { from: 'inet', endpoint: '203.0.113.2:1023', answer: { server: '105', port: 23 }, stream: true },
  { from: '107', endpoint: '203.0.113.1:443', answer: { server: 'inet', seenAs: '203.0.113.2' } },
]

export class World {
  private constructor(
    readonly lab: Lab,
    readonly backend: Backend,
    readonly tree: string,
    readonly pvenat: Pvenat,
    readonly firewall: PveFirewall,
    /** Before pvenat came. */
    readonly before: string,
    /** What iptables-save said then, to bring it back. */
    readonly saved: string,
    /** What is ours with each of `EDITS`, without Docker and with it. */
    readonly own: Record<'alone' | 'docker', readonly string[]>,
    readonly watcher: Watcher,
  ) {}

  static async start(backend: Backend): Promise<World> {
    const lab = await createLab()
    const tree = await copyTree(node1Tree)
    try {
      return await World.build(lab, tree, backend)
    } catch (error) {
      await lab.stop()
      await removeTree(tree)
      throw error
    }
  }

  private static async build(lab: Lab, tree: string, backend: Backend): Promise<World> {
    const pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
    const host = await readFile(join(tree, 'nodes/pve1/host.fw'), 'utf8')
    await saveLikeGui(tree, 'nodes/pve1/host.fw', withForward(host))
    await loadPveFirewall(lab, backend, node1Tree)
    await addForeignRules(lab, backend)
    await Promise.all([
      lab.serve('inet', 'tcp', 443),
      lab.serve('107', 'tcp', 22),
      lab.serve('108', 'tcp', 80),
      lab.serve('105', 'tcp', 22, 23),
    ])
    const firewall = new PveFirewall(lab, backend, node1Tree)
    await firewall.cycle()
    await firewall.cycle() // the second one wants what the fixture holds
    const before = await snapshot(lab)
    const saved = await savedRules(lab, backend)
    await pvenat.start()
    const alone = await learn(lab, tree, pvenat)
    await tamper(lab, backend, dockerUp)
    const docker = await learn(lab, tree, pvenat)
    await tamper(lab, backend, dockerDown)
    await waitFor(async () => (await readParts(lab)).own === alone[0], { timeoutMs: 10_000 })
    const watcher = await Watcher.start(lab, UNTOUCHED)
    return new World(lab, backend, tree, pvenat, firewall, before, saved, { alone, docker }, watcher)
  }

  async edit(index: number): Promise<void> {
    await saveLikeGui(this.tree, 'firewall/105.fw', EDITS[index] ?? '')
  }

  /** /etc/pve is there, or not, as far as the service can tell. */
  async mount(isThere: boolean): Promise<void> {
    const [local, aside] = ['local', 'aside'].map((name) => join(this.tree, name)) as [string, string]
    await (isThere ? rename(aside, local) : rename(local, aside))
  }

  /** Starts the service anew, without waiting for anything. */
  restart(): void {
    this.pvenat.service = this.lab.spawn('pve', this.pvenat.argv('run'))
  }

  async stop(): Promise<void> {
    await this.lab.stop()
    await removeTree(this.tree)
  }
}

/** What is ours with each of `EDITS`; the first one is in force in the end. */
async function learn(lab: Lab, tree: string, pvenat: Pvenat): Promise<string[]> {
  const own: string[] = []
  for (const text of [...EDITS].reverse()) {
    await saveLikeGui(tree, 'firewall/105.fw', text)
    await waitFor(async () => (await pvenat.run('plan')).exitCode === 0 && isTaken(pvenat), {
      timeoutMs: 10_000,
      what: 'an edit to be in force',
    })
    own.unshift((await readParts(lab)).own)
  }
  return own
}

/** Whether the plan that was empty was made with the service alive; a dead one would be waited for in vain. */
function isTaken({ service }: Pvenat): boolean {
  if (!service?.alive) throw new Error(`the service ended: ${service?.stdout}${service?.stderr}`)
  return true
}

async function savedRules(lab: Lab, backend: Backend): Promise<string> {
  const saves = ['iptables', 'ip6tables'].map((family) => `${family}-${backend}-save`)
  const [v4, v6] = await Promise.all(saves.map((command) => lab.exec('pve', [command])))
  return JSON.stringify([v4?.stdout, v6?.stdout])
}

/** Puts everybody else's rules back as they were, over everything that there is, ours included. */
export async function restoreSaved({ lab, backend, saved }: World): Promise<void> {
  const [v4, v6] = JSON.parse(saved) as [string, string]
  await lab.exec('pve', [`iptables-${backend}-restore`, '-w', '5'], { input: `${v4}\n` })
  await lab.exec('pve', [`ip6tables-${backend}-restore`, '-w', '5'], { input: `${v6}\n` })
}
