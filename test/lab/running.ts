import type { Child } from './child.ts'
import { waitFor } from './wait.ts'

export interface Ended {
  exitCode: number | undefined
  signal: string | undefined
}

/** A process that was started to go on, such as a service: its output so far, and its end. */
export class Running {
  stdout = ''
  stderr = ''
  readonly pid: number
  /** Resolves when the process is gone, however it went. */
  readonly ended: Promise<Ended>
  private isOver = false

  constructor(
    readonly title: string,
    private readonly child: Child,
  ) {
    if (child.pid === undefined) throw new Error(`${title} did not start`)
    this.pid = child.pid
    child.stdin.end()
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.ended = child.then(({ exitCode, signal }) => {
      this.isOver = true
      return { exitCode, signal }
    })
  }

  get alive(): boolean {
    return !this.isOver
  }

  /** Waits until stdout or stderr holds a match; fails at once if the process ends without one. */
  async says(pattern: RegExp, timeoutMs = 5000): Promise<RegExpMatchArray> {
    const find = (): RegExpMatchArray | null => this.stdout.match(pattern) ?? this.stderr.match(pattern)
    const what = `${this.title} to say ${pattern}`
    const found = await waitFor(() => find() ?? !this.alive, { timeoutMs, what })
    const match = found === true ? find() : found
    if (!match)
      throw new Error(`${this.title} ended without saying ${pattern}:\n${this.stdout}${this.stderr}`)
    return match
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Asks the process to end, kills it if it does not within 5 s, and tells how it ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000)
    this.child.kill(signal)
    return this.ended.finally(() => clearTimeout(timer))
  }
}
