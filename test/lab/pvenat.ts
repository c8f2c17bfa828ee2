/** The product in the lab: the built bundle, on a node, with a tree of its own. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Backend } from './firewall.ts'
import type { Lab } from './lab.ts'
import type { Result, RunOptions } from './namespace.ts'
import type { Running } from './running.ts'
import { saveInPlace } from './tree.ts'

const bundle = resolve('dist/pvenat.cjs')
/** Another Node.js to run the product with, e.g. the oldest that it must run on. */
const runtime = process.env['PVENAT_NODE'] ?? process.execPath

const unitEnv = Object.fromEntries(
  [...readFileSync('debian/pvenat.service', 'utf8').matchAll(/^Environment=(.*)$/gm)].flatMap(
    ([, all = '']) => all.split(' ').map((one) => one.split('=')),
  ),
) as Record<string, string>

/** The command line of pvenat on a lab node; `settings` are lines of [nat] besides the backend. */
export class Pvenat {
  service: Running | undefined

  constructor(
    private readonly lab: Lab,
    private readonly backend: Backend,
    private readonly tree: string,
    private readonly node = 'pve',
    private readonly hostname = 'pve1',
  ) {}

  /** Writes the settings; the backend is always the test's. */
  async configure(settings = ''): Promise<void> {
    await saveInPlace(this.tree, 'pvenat.conf', `[nat]\nbackend = ${this.backend}\n${settings}\n`)
  }

  /** Starts `pvenat run`, in the environment that its unit gives it. */
  launch({ env, ...options }: RunOptions = {}): Running {
    this.service = this.lab.spawn(this.node, this.argv('run'), { ...options, env: { ...unitEnv, ...env } })
    return this.service
  }

  /** Starts `pvenat run` and waits until it has put its rules into force. */
  async start(options: RunOptions = {}, timeoutMs?: number): Promise<Running> {
    const service = this.launch(options)
    await service.says(/in force: /, timeoutMs)
    return service
  }

  /** Runs one command to its end; a non-zero exit is no error here. */
  run(...words: string[]): Promise<Result> {
    return this.lab.exec(this.node, this.argv(...words), { check: false })
  }

  /** The command line of one command. */
  argv(...words: string[]): string[] {
    return [runtime, bundle, ...words, '--pve-dir', this.tree, '--node', this.hostname]
  }
}
