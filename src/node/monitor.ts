/** Hears of addresses and routes that appear, change or go. */
import { execa } from 'execa'

const RESTART_MS = 5000

export interface Monitor {
  close(): void
}

/** Calls `hint` for each change that the kernel tells. Should the program end, it is started again after a while. */
export function monitorNetwork(hint: () => void): Monitor {
  let closed = false
  let stop = (): void => undefined
  const start = (): void => {
    if (closed) return
    const child = execa('ip', ['monitor', 'address', 'route'], {
      reject: false,
      buffer: false,
      stdin: 'ignore',
      stderr: 'ignore',
    })
    child.stdout.on('data', hint)
    stop = () => void child.kill()
    void child.then(() => {
      if (closed) return
      const timer = setTimeout(start, RESTART_MS)
      stop = () => clearTimeout(timer)
    })
  }
  start()
  return {
    close() {
      closed = true
      stop()
    },
  }
}
