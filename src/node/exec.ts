/** The only place that starts a program: an argument array, text on standard input, a time limit. */
import { execa } from 'execa'
import { setTimeout as delay } from 'node:timers/promises'

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
/** By then a program that cannot do what it is for has ended. */
const SETTLE_MS = 10

export interface Finished {
  /** Exit code; 127 when the program is missing, 124 when it was stopped for taking too long. */
  code: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  timeoutMs?: number
  env?: Record<string, string>
}

/** Runs a program of the system to its end; never throws. `input` is all that it reads. */
export async function run(
  file: string,
  args: readonly string[],
  input = '',
  { timeoutMs = 30_000, env = {} }: RunOptions = {},
): Promise<Finished> {
  const result = await execa(file, args, {
    input,
    timeout: timeoutMs,
    reject: false,
    stripFinalNewline: false,
    maxBuffer: 1 << 28,
    env: { ...ENVIRONMENT, ...env },
    extendEnv: false,
  })
  const code = result.timedOut ? 124 : (result.exitCode ?? 127)
  return {
    code,
    stdout: result.stdout,
    stderr: result.stderr || (result.failed ? (result.shortMessage ?? '') : ''),
  }
}

/** A program failed in a way that the caller cannot work round. `input` is the whole of what it was given. */
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
  stop: () => void
}

/** Starts a program that goes on; `onOutput` hears of its output. Undefined when it cannot be started or ends at once. */
export async function hold(
  file: string,
  args: readonly string[],
  onOutput?: () => void,
): Promise<Held | undefined> {
  const child = execa(file, args, {
    reject: false,
    buffer: false,
    stdin: 'ignore',
    stderr: 'ignore',
    env: ENVIRONMENT,
    extendEnv: false,
  })
  if (onOutput) child.stdout.on('data', onOutput)
  else child.stdout.resume()
  const ended = child.then(() => undefined)
  const isGone = await Promise.race([ended.then(() => true), delay(SETTLE_MS).then(() => false)])
  const { pid } = child
  return isGone || pid === undefined ? undefined : { pid, ended, stop: () => void child.kill('SIGKILL') }
}
