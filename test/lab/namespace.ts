import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { dieWithParent, startChild, type Child } from './child.ts'
import { searchPath } from './machine.ts'
import { Running } from './running.ts'

const agentFile = fileURLToPath(new URL('agent.mjs', import.meta.url))

export interface RunOptions {
  /** Added to the environment. */
  env?: Record<string, string>
  /** Default: where the tests run. */
  cwd?: string
}

export interface ExecOptions extends RunOptions {
  input?: string
  /** Throw when the exit code is not 0. Default true. */
  check?: boolean
}

export interface Result {
  stdout: string
  stderr: string
  exitCode: number | undefined
}

interface Waiting {
  resolve: (value: unknown) => void
  reject: (error: Error) => void
}

/**
 * One host of the lab: a network, mount and UTS namespace without a name on the machine, held by an agent
 * process. It vanishes when the agent ends, and the agent ends with the test run, so there is nothing to sweep.
 */
export class Namespace {
  readonly pid: number
  private readonly waiting = new Map<number, Waiting>()
  private readonly processes = new Set<Running>()
  private lastId = 0
  private isOver = false

  private constructor(
    readonly name: string,
    private readonly agent: Child,
  ) {
    if (agent.pid === undefined) throw new Error(`the agent of ${name} did not start`)
    this.pid = agent.pid
    agent.stderr.on('data', (text: Buffer) => process.stderr.write(text))
    agent.stdin.on('error', () => undefined) // the end of the agent is told below
    createInterface({ input: agent.stdout }).on('line', (line) => this.hear(line))
    void agent.then(() => {
      this.isOver = true
      for (const waiting of this.waiting.values()) waiting.reject(this.overError())
      this.waiting.clear()
    })
  }

  /** Starts the agent in new namespaces and waits until it answers. */
  static async start(name: string): Promise<Namespace> {
    const command = ['--net', '--mount', '--uts', '--propagation', 'private', ...dieWithParent]
    const agent = startChild('unshare', [...command, process.execPath, agentFile, name])
    const namespace = new Namespace(name, agent)
    await namespace.request('ready')
    return namespace
  }

  /** Has the agent do one thing from inside; see agent.mjs for what it can do. */
  request<T>(op: string, args: object = {}): Promise<T> {
    const id = ++this.lastId
    return new Promise<T>((resolve, reject) => {
      if (this.isOver) return reject(this.overError())
      this.waiting.set(id, { resolve: (value) => resolve(value as T), reject })
      this.agent.stdin.write(`${JSON.stringify({ id, op, ...args })}\n`)
    })
  }

  /** Runs a command in the namespace to its end. */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Result> {
    const { input = '', check = true } = options
    const { file, args, settings } = this.enter(argv, options)
    const done = await execa(file, args, { ...settings, input, reject: false })
    const { stdout, stderr, exitCode } = done
    if (check && exitCode !== 0) {
      throw new Error(`${this.name}: ${argv.join(' ')}: ${done.shortMessage}\n${stdout}\n${stderr}`)
    }
    return { stdout, stderr, exitCode }
  }

  /** Starts a command that goes on; it is stopped with the namespace at the latest. */
  spawn(argv: readonly string[], options: RunOptions = {}): Running {
    const { file, args, settings } = this.enter(argv, options)
    const child = startChild(file, args, settings.env)
    const running = new Running(`${this.name}: ${argv.join(' ')}`, child)
    this.processes.add(running)
    void running.ended.then(() => this.processes.delete(running))
    return running
  }

  /** Runs a command to its end on the terminal of whoever runs this. */
  async attach(argv: readonly string[], options: RunOptions = {}): Promise<void> {
    const { file, args, settings } = this.enter(argv, options)
    await execa(file, args, { ...settings, stdio: 'inherit', reject: false })
  }

  /** Runs lines of `ip` in one go, e.g. `addr add 10.0.0.1/24 dev eth0`. */
  async ip(lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await this.exec(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }

  /** Sets sysctls; keys with slashes, since an interface name may hold a dot: `net/ipv4/ip_forward`. */
  async setSysctls(values: Record<string, string | number>): Promise<void> {
    const files = Object.entries(values).map(([key, value]) => [`/proc/sys/${key}`, String(value)])
    await this.request('write', { files: Object.fromEntries(files) as Record<string, string> })
  }

  /** Reads files from inside, trimmed; null for those that cannot be read. */
  read(paths: readonly string[]): Promise<(string | null)[]> {
    return this.request('read', { paths })
  }

  /** Ends all processes of the namespace, and so the namespace. */
  async stop(): Promise<void> {
    await Promise.all([...this.processes].map((running) => running.stop('SIGKILL')))
    this.agent.stdin.end()
    await this.agent
  }

  private enter(argv: readonly string[], { env = {}, cwd = process.cwd() }: RunOptions) {
    const into = ['--target', String(this.pid), '--net', '--mount', '--uts', `--wdns=${cwd}`, '--']
    return {
      file: 'nsenter',
      args: [...into, ...dieWithParent, ...argv],
      settings: { env: { PATH: searchPath, ...env } },
    } as const
  }

  private overError(): Error {
    return new Error(`the agent of ${this.name} has ended`)
  }

  private hear(line: string): void {
    const { id, value, error } = JSON.parse(line) as { id: number; value?: unknown; error?: string }
    const waiting = this.waiting.get(id)
    this.waiting.delete(id)
    if (error === undefined) waiting?.resolve(value)
    else waiting?.reject(new Error(error))
  }
}
