/**
 * Tells systemd that the service is ready, how it is and that it is alive, where it asked to be told. By systemd's own program,
 * since Node.js cannot write to sockets of this kind; it waits until systemd has heard, so its early end loses nothing.
 */
import { run } from '../node/exec.ts'
import { printable } from '../show/diagnostics.ts'

/** Often enough for the watchdog of the unit, and seldom enough for a process each time. */
const ALIVE_MS = 60_000
const MAX_STATUS = 200

/** Says how the service is; called after each look, it says only what is new, and that it is alive. */
type Notify = (status: string) => void

export function makeNotify(environment: Readonly<Record<string, string | undefined>>): Notify {
  const { NOTIFY_SOCKET } = environment
  if (NOTIFY_SOCKET === undefined) return () => undefined
  let said: string | undefined
  let at = 0
  return (text) => {
    // A new line would be another message to systemd.
    const status = printable(text).slice(0, MAX_STATUS)
    if (status === said && performance.now() - at < ALIVE_MS) return
    const words = [
      ...(said === undefined ? ['--ready'] : []),
      ...(status === said ? [] : [`--status=${status}`]),
      'WATCHDOG=1',
    ]
    said = status
    at = performance.now()
    void run('systemd-notify', words, '', { env: { NOTIFY_SOCKET } })
  }
}
