/**
 * Tells systemd that the service is ready, its state in one line, and that it is alive. By systemd's own program, since Node.js
 * cannot write to sockets of this kind; it waits until systemd has heard, so its early end loses nothing.
 */
import { run } from '../node/exec.ts'
import { printable } from '../show/diagnostics.ts'

/** Interval for the unit's WatchdogSec of 180 s, when systemd does not name one. */
const ALIVE_MS = 60_000
/** The longest turn of the loop: every program that it starts has a time limit. */
const MAX_TURN_MS = 600_000
const MAX_STATUS = 200

interface Notify {
  /** At the end of each turn of the loop; systemd hears what is new, and with the first status that the service is ready. */
  turned: (status: string | undefined) => void
  close: () => void
}

export function makeNotify(environment: Readonly<Record<string, string | undefined>>): Notify {
  const { NOTIFY_SOCKET, WATCHDOG_USEC } = environment
  if (NOTIFY_SOCKET === undefined) return { turned: () => undefined, close: () => undefined }
  const tell = (...words: string[]): void => void run('systemd-notify', words, '', { env: { NOTIFY_SOCKET } })
  let said: string | undefined
  let turnedAt = performance.now()
  // A third of WatchdogSec; also within a long turn, and whatever the interval between turns.
  const aliveMs = Number(WATCHDOG_USEC) / 3000 || ALIVE_MS
  const timer = setInterval(() => {
    if (performance.now() - turnedAt < MAX_TURN_MS) tell('WATCHDOG=1')
  }, aliveMs)
  return {
    turned(text) {
      turnedAt = performance.now()
      if (text === undefined) return
      // A new line would be another message to systemd.
      const status = printable(text).slice(0, MAX_STATUS)
      if (status === said) return
      tell(...(said === undefined ? ['--ready'] : []), `--status=${status}`, 'WATCHDOG=1')
      said = status
    },
    close: () => clearInterval(timer),
  }
}
