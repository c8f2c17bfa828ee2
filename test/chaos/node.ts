/** One node with one tree, for tests that look at one thing each. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import {
  addForeignRules,
  copyTree,
  createLab,
  loadPveFirewall,
  node1Tree,
  now,
  Pvenat,
  readParts,
  removeTree,
  saveLikeGui,
  waitFor,
  type Answer,
  type Backend,
  type Lab,
  type Parts,
  type Result,
} from '../lab/index.ts'

export interface NodeOptions {
  /** With what the real pve-firewall made of the tree. */
  firewall?: boolean
  /** With rules of somebody else in every table. */
  foreign?: boolean
  /** Rules of host.fw, of 105.fw, and so on, by path; others as in `fixtures/node1`. */
  rules?: Record<string, string[]>
  settings?: string
}

export const fwFile = (...rules: string[]): string =>
  `[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n${rules.join('\n')}\n\n`

export class TestNode {
  private constructor(
    readonly lab: Lab,
    readonly tree: string,
    readonly backend: Backend,
    readonly pvenat: Pvenat,
  ) {}

  static async start(backend: Backend, options: NodeOptions = {}): Promise<TestNode> {
    const lab = await createLab()
    const tree = await copyTree(node1Tree)
    const pvenat = new Pvenat(lab, backend, tree)
    const node = new TestNode(lab, tree, backend, pvenat)
    try {
      await pvenat.configure(options.settings)
      for (const [path, rules] of Object.entries(options.rules ?? {})) await node.save(path, ...rules)
      if (options.firewall) await loadPveFirewall(lab, backend, node1Tree)
      if (options.foreign) await addForeignRules(lab, backend)
    } catch (error) {
      await node.stop()
      throw error
    }
    return node
  }

  save(path: string, ...rules: string[]): Promise<void> {
    return saveLikeGui(this.tree, path, fwFile(...rules))
  }

  /** Adds lines to a file of the tree as it is in the fixture. */
  async extend(path: string, ...rules: string[]): Promise<void> {
    const text = await readFile(join(node1Tree, path), 'utf8')
    const section = text.includes('[RULES]') ? text : `${text}\n[RULES]\n`
    await saveLikeGui(this.tree, path, `${section.trimEnd()}\n${rules.join('\n')}\n`)
  }

  /** Runs `apply`, which has to go well. */
  async apply(): Promise<Result> {
    const result = await this.pvenat.run('apply')
    if (result.exitCode !== 0)
      throw new Error(`apply: exit ${result.exitCode}: ${result.stderr}${result.stdout}`)
    return result
  }

  parts(): Promise<Parts> {
    return readParts(this.lab)
  }

  /** Waits until what is ours is as it was, and tells after how many milliseconds. */
  async repaired(own: string, fromMs = now(), timeoutMs = 12_000): Promise<number> {
    await waitFor(async () => (await this.parts()).own === own, { timeoutMs, what: 'the repair' })
    return now() - fromMs
  }

  /** Nothing is to be done any more. */
  async converged(timeoutMs = 12_000): Promise<void> {
    await waitFor(async () => (await this.pvenat.run('plan')).exitCode === 0, {
      timeoutMs,
      what: 'everything to be in force',
    })
  }

  /** Who answers at a port of the node. */
  ask(port: number): Promise<Answer> {
    return this.lab.ask('inet', 'tcp', `203.0.113.2:${port}`, { timeoutMs: 300 })
  }

  /** Counts what the service says from now on. */
  listen(): (pattern: RegExp) => number {
    const output = (): string => this.pvenat.service?.stdout ?? ''
    const from = output().length
    return (pattern) => [...output().slice(from).matchAll(new RegExp(pattern, 'gm'))].length
  }

  /** Waits until the service publishes all this. */
  async publishes(wanted: object): Promise<void> {
    await waitFor(async () => {
      expect(JSON.parse(await this.sh('cat /run/pvenat/status.json'))).toMatchObject(wanted)
      return true
    })
  }

  /** Runs a shell script on the node. */
  async sh(script: string): Promise<string> {
    return (await this.lab.exec('pve', ['sh', '-ec', script])).stdout
  }

  async stop(): Promise<void> {
    await this.lab.stop()
    await removeTree(this.tree)
  }
}
