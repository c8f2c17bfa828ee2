/** The only place that starts a program: an argument array, text on standard input, a time limit. */
import { execFile, spawn, type ChildProcessByStdio, type ExecFileException } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
/** After this long a program hangs. */
const TIMEOUT_MS = 15_000
/** A program that cannot do its work has ended by then. */
const SETTLE_MS = 10

/** A program that was killed has ended by then. */
const UNKILLABLE_MS = 100

/** The processes that were started last, by number. */
const started: number[] = []
const REMEMBERED = 256

function remember(pid: number | undefined): void {
  if (pid === undefined) return
  started.push(pid)
  if (started.length > REMEMBERED) started.shift()
}

/** Whether a process was started here, not long ago. */
export function isOwn(pid: number): boolean {
  return started.includes(pid)
}

/** Exit codes, as the shell and timeout(1) have them: of a program that cannot be started, of one that was stopped for taking too long. */
export const [NOT_STARTED, TOO_LATE] = [127, 124]

export interface Finished {
  /** Exit code, NOT_STARTED or TOO_LATE. */
  code: number
  stdout: string
  stderr: string
}

interface RunOptions {
  timeoutMs?: number
  env?: Record<string, string>
}

/**
 * Runs a program of the system to its end; never throws. `input` is all that it reads. One that takes too long is killed, and a
 * child of its own that keeps its output open is not waited for.
 */
export function run(
  file: string,
  args: readonly string[],
  input = '',
  { timeoutMs = TIMEOUT_MS, env = {} }: RunOptions = {},
): Promise<Finished> {
  const options = {
    ...({ timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 1 << 28 } as const),
    env: { ...ENVIRONMENT, ...env },
  }
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined
    const finish = (error: ExecFileException | null, stdout = '', stderr = ''): void => {
      clearTimeout(timer)
      const isLate = error?.killed === true && error.signal === 'SIGKILL'
      const known = typeof error?.code === 'number' ? error.code : undefined
      const code = isLate ? TOO_LATE : (known ?? (error ? NOT_STARTED : 0))
      const reason = isLate ? `${file} did not end within ${timeoutMs / 1000} s` : (error?.message ?? '')
      resolve({ code, stdout, stderr: stderr || reason })
    }
    try {
      const child = execFile(file, args, options, finish)
      remember(child.pid)
      // A program that waits for a file system cannot be killed before that answers.
      timer = setTimeout(() => {
        child.unref()
        finish(Object.assign(new Error(), { killed: true, signal: 'SIGKILL' as const }))
      }, timeoutMs + UNKILLABLE_MS)
      // A program that ends without reading all of its input tells the reason by its exit code. Without file descriptors there is no pipe.
      child.stdin?.on('error', () => undefined).end(input)
    } catch (error) {
      finish(error as Error) // no memory for it
    }
  })
}

/** A program failed in a way that the caller cannot work round. `input`: its whole input. */
export class CommandFailed extends Error {
  constructor(
    readonly command: string,
    readonly finished: Finished,
    readonly input: string,
  ) {
    super(`${command}: exit ${finished.code}: ${finished.stderr.trim().split('\n').slice(0, 3).join(' | ')}`)
  }
}

/** As `run`, but a failure is an exception. */
export async function must(file: string, args: readonly string[], input = ''): Promise<string> {
  const finished = await run(file, args, input)
  if (finished.code !== 0) throw new CommandFailed([file, ...args].join(' '), finished, input)
  return finished.stdout
}

/** A program that goes on until it is stopped. */
export interface Held {
  pid: number
  /** Resolves when it is gone. */
  ended: Promise<unknown>
  /** Text for its standard input. */
  write: (text: string) => void
  stop: () => void
}

/** Starts a program that goes on; `onOutput` hears its output. Undefined when it cannot be started or ends at once. */
export async function hold(
  file: string,
  args: readonly string[],
  onOutput: (text: string) => void = () => undefined,
  env: Record<string, string> = {},
): Promise<Held | undefined> {
  const child = spawnHeld(file, args, env)
  if (!child) return undefined
  const ended = new Promise<void>((resolve) => child.on('error', () => resolve()).on('exit', () => resolve()))
  remember(child.pid)
  // Without file descriptors there is no pipe.
  ;(child.stdout as Readable | undefined)?.setEncoding('utf8').on('data', onOutput)
  ;(child.stdin as Writable | undefined)?.on('error', () => undefined)
  const isGone = await Promise.race([ended.then(() => true), delay(SETTLE_MS).then(() => false)])
  const { pid } = child
  if (isGone || pid === undefined) return undefined
  return {
    pid,
    ended,
    write: (text) => void child.stdin.write(text),
    stop() {
      child.kill('SIGKILL')
      // A program that waits for a file system cannot end before that answers.
      child.stdin.destroy()
      child.stdout.destroy()
      child.unref()
    },
  }
}

function spawnHeld(
  file: string,
  args: readonly string[],
  env: Record<string, string>,
): ChildProcessByStdio<Writable, Readable, null> | undefined {
  try {
    return spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'], env: { ...ENVIRONMENT, ...env } })
  } catch {
    return undefined // no memory for it
  }
}
