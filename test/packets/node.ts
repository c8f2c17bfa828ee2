/** One node of `fixtures/node1` with pvenat on it: made before the tests of a file or of a `describe`, gone after them. */
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import {
  addForeignRules,
  backends,
  copyTree,
  createLab,
  fwFile,
  loadPveFirewall,
  node1Tree,
  now,
  Pvenat,
  readParts,
  removeTree,
  saveLikeGui,
  snapshot,
  waitFor,
  type Answer,
  type AskOptions,
  type Backend,
  type Lab,
  type LabOptions,
  type Parts,
  type Proto,
  type Result,
  type WaitOptions,
} from '../lab/index.ts'

interface NodeOptions {
  /** In what it is wired otherwise. */
  lab?: LabOptions
  /** With what the real pve-firewall made of the tree. */
  firewall?: boolean
  /** With rules of somebody else in every table. */
  foreign?: boolean
  /** Rules of host.fw, of 105.fw, and so on, by path; others as in the fixture. */
  rules?: Record<string, string[]>
  /** Files of the fixture that say something else. */
  edits?: Record<string, (text: string) => string>
  /** Lines of [nat] besides the backend. */
  settings?: string
  /** Who serves what: `105:22,80/tcp`. */
  serve?: string[]
  /** What else there is before pvenat comes. */
  prepare?: (node: TestNode) => Promise<unknown>
  /** How it comes: with one `apply`, which has to go well, as the service, or (default) not by itself. */
  pvenat?: 'apply' | 'run'
}

/** A plan takes half of it where nothing else runs. */
const PLAN_MS = 500

/** Its hooks are those of the place where this is called; it may be asked from them and from tests. */
export function testNode(backend: Backend, options: NodeOptions = {}): TestNode {
  const node = new TestNode(backend)
  beforeAll(() => node.start(options))
  afterAll(() => node.stop())
  return node
}

/** A suite on both backends at once, its tests in their order: much of the time they wait. Not for suites that measure time. */
export function onBothAtOnce(name: string, suite: (backend: Backend) => void): void {
  describe(name, () => {
    describe.concurrent.each(backends)('at once', (backend) => {
      describe.sequential(backend, () => suite(backend))
    })
  })
}

export class TestNode {
  lab!: Lab
  tree!: string
  pvenat!: Pvenat
  /** The snapshot of the last moment without pvenat. */
  untouched!: string

  constructor(readonly backend: Backend) {}

  async start(options: NodeOptions): Promise<void> {
    const { lab, firewall, foreign, rules = {}, edits = {}, settings, serve = [], prepare, pvenat } = options
    this.tree = await copyTree(node1Tree)
    this.lab = await createLab(lab)
    this.pvenat = new Pvenat(this.lab, this.backend, this.tree)
    await this.pvenat.configure(settings)
    for (const [path, change] of Object.entries(edits)) await this.edit(path, change)
    for (const [path, lines] of Object.entries(rules)) await this.save(path, ...lines)
    if (firewall) await loadPveFirewall(this.lab, this.backend, node1Tree)
    if (foreign) await addForeignRules(this.lab, this.backend)
    await this.serve(...serve)
    await prepare?.(this)
    this.untouched = await snapshot(this.lab)
    if (pvenat === 'apply') await this.apply()
    if (pvenat === 'run') await this.pvenat.start()
  }

  async stop(): Promise<void> {
    // Either is missing when the start failed.
    await (this.lab as Lab | undefined)?.stop()
    await removeTree(this.tree)
  }

  /** Has servers: `105:22,80/tcp`. */
  async serve(...servers: readonly string[]): Promise<void> {
    await Promise.all(
      servers.map((server) => {
        const [, name = '', ports = '', proto = ''] = /^(\w+):([\d,]+)\/(tcp|udp)$/.exec(server) ?? []
        return this.lab.serve(name, proto as Proto, ...ports.split(',').map(Number))
      }),
    )
  }

  text(path: string): Promise<string> {
    return readFile(join(this.tree, path), 'utf8')
  }

  /** Saves a .fw file that has just these rules. */
  save(path: string, ...rules: string[]): Promise<void> {
    return saveLikeGui(this.tree, path, fwFile(...rules))
  }

  /** Saves a file as something else than it is. */
  async edit(path: string, change: (text: string) => string): Promise<void> {
    await saveLikeGui(this.tree, path, change(await this.text(path)))
  }

  /** Takes away the link `local`, without which /etc/pve counts as not mounted, and returns what brings it back. The files stay. */
  async unmount(): Promise<() => Promise<void>> {
    const [local, aside] = [join(this.tree, 'local'), join(this.tree, 'aside')]
    await rename(local, aside)
    return () => rename(aside, local)
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
    const isInForce = async (): Promise<true> => {
      const { exitCode, stdout } = await this.pvenat.run('plan')
      if (exitCode !== 0) throw new Error(stdout)
      return true
    }
    await waitFor(isInForce, { timeoutMs, what: 'everything to be in force' })
  }

  /** Who answers at `ADDRESS:PORT`, by TCP, or `ADDRESS:PORT/PROTO`. */
  call(from: string, to: string, options?: AskOptions): Promise<Answer> {
    const [endpoint = '', proto = 'tcp'] = to.split('/')
    return this.lab.ask(from, proto as Proto, endpoint, options)
  }

  /** Who answers the internet at a TCP port of the node. */
  ask(port: number, options?: AskOptions): Promise<Answer> {
    return this.lab.ask('inet', 'tcp', `203.0.113.2:${port}`, options)
  }

  /** Waits until somebody answers the internet at a TCP port of the node. */
  async opens(port: number, options: WaitOptions = {}): Promise<void> {
    const isOpen = async () => typeof (await this.ask(port, { timeoutMs: 100 })) === 'object'
    await waitFor(isOpen, { what: `an answer at port ${port}`, ...options })
  }

  /**
   * What a promise of time comes to for something that took so long: the same, but more on a machine that is busy with something
   * else just now, as the time of a plan tells.
   */
  async fair(promisedMs: number, tookMs: number): Promise<number> {
    if (tookMs < promisedMs) return promisedMs
    const start = now()
    await this.pvenat.run('plan')
    return promisedMs * Math.max(1, (now() - start) / PLAN_MS)
  }

  /** Waits until the service hears signals, which one that has only just been started does not. */
  async hears(): Promise<void> {
    const pid = async () => Number(await this.sh('cat /run/pvenat/pid'))
    await waitFor(async () => (await pid()) === this.pvenat.service?.pid, { what: 'the service to hear' })
  }

  /** Counts what the service says from now on. */
  listen(): (pattern: RegExp) => number {
    const output = (): string => this.pvenat.service?.stdout ?? ''
    const from = output().length
    return (pattern) => [...output().slice(from).matchAll(new RegExp(pattern, 'gm'))].length
  }

  /** What the service says of itself, or a command in its place. */
  async published<T>(name = 'status.json'): Promise<T> {
    return JSON.parse(await this.sh(`cat /run/pvenat/${name}`)) as T
  }

  /** Waits until the service publishes all this. */
  async publishes(wanted: object): Promise<void> {
    await waitFor(async () => {
      expect(await this.published()).toMatchObject(wanted)
      return true
    })
  }

  /** Runs a shell script on the node. */
  async sh(script: string): Promise<string> {
    return (await this.lab.exec('pve', ['sh', '-ec', script])).stdout
  }
}
