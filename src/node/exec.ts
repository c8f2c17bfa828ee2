/** The only place that starts a program: an argument array, text on standard input, a time limit. */
import { execa } from 'execa'

export interface Finished {
  /** Exit code; 127 when the program is missing, 124 when it was stopped for taking too long. */
  code: number
  stdout: string
  stderr: string
}

/** Runs a program of the system to its end; never throws. `input` is all that it reads. */
export async function run(
  file: string,
  args: readonly string[],
  input = '',
  timeoutMs = 30_000,
): Promise<Finished> {
  const result = await execa(file, args, {
    input,
    timeout: timeoutMs,
    reject: false,
    stripFinalNewline: false,
    maxBuffer: 1 << 28,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
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
