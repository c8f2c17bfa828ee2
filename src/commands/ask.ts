/** Asks whether a change may stay: at the terminal, and by `pvenat confirm` from elsewhere. */
import { UsageError, type Io } from '../io.ts'
import { CONFIRMATION, takeUnconfirmed, writeUnconfirmed } from '../node/unconfirmed.ts'
import type { Context } from './context.ts'

export type Answer = 'kept' | 'not wanted' | 'no answer' | 'stopped'

/** From now on a signal is an answer instead of the end of the process. */
export function hearSignals(): Promise<Answer> {
  // The terminal may be the first thing that the change takes away.
  process.on('SIGHUP', () => undefined)
  return new Promise((resolve) => {
    process.on('SIGINT', () => resolve('stopped')).on('SIGTERM', () => resolve('stopped'))
  })
}

export async function askWithin(
  seconds: number,
  io: Io,
  runDir: string,
  stopped: Promise<Answer>,
): Promise<Answer> {
  const confirmed = new Promise<Answer>((resolve) => process.once(CONFIRMATION, () => resolve('kept')))
  await writeUnconfirmed(runDir)
  const end = performance.now() + seconds * 1000
  const ask = (): void => {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000))
    io.stderr(`\rkeep it? y or n, or pvenat confirm elsewhere; it is taken back in ${left} s: `)
  }
  let timers: NodeJS.Timeout[] = []
  let hangUp = (): void => undefined
  const answered = new Promise<Answer>((resolve) => {
    timers = [setTimeout(() => resolve('no answer'), seconds * 1000)]
    if (!io.listen) {
      io.stderr(`in force; it is taken back in ${seconds} s unless you run: pvenat confirm\n`)
      return
    }
    hangUp = io.listen((line) => {
      const word = line.trim().toLowerCase()
      if (['y', 'yes'].includes(word)) resolve('kept')
      else if (['n', 'no'].includes(word)) resolve('not wanted')
      else ask()
    })
    ask()
    timers.push(setInterval(ask, 1000))
  })
  const answer = await Promise.race([confirmed, answered, stopped])
  for (const timer of timers) clearTimeout(timer)
  if (io.listen) io.stderr('\n')
  hangUp()
  return (await takeUnconfirmed(runDir)) ? answer : 'kept'
}

/** The value of `--confirm`; undefined when it was not given. */
export function confirmSeconds({ values }: Context): number | undefined {
  if (values.confirm === undefined) return undefined
  const seconds = Number(values.confirm)
  if (!(seconds >= 1 && seconds <= 3600)) throw new UsageError('--confirm takes seconds from 1 to 3600')
  return seconds
}
