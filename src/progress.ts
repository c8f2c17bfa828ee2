/** Shows at a terminal that a long command is at work. */
import type { Io } from './io.ts'

const TICK_MS = 1000
const CLEAR_LINE = '\r\u001b[K'

/** Runs `work` with an `io` before whose output the line of progress goes away. */
export async function withProgress<T>(io: Io, work: (io: Io) => Promise<T>): Promise<T> {
  if (!io.isTerminal) return work(io)
  let seconds = 0
  let isShown = false
  const clear = (): void => {
    if (isShown) io.stderr(CLEAR_LINE)
    isShown = false
  }
  const timer = setInterval(() => {
    clear()
    io.stderr(`working, ${++seconds} s`)
    isShown = true
  }, TICK_MS)
  const cleared =
    (write: (text: string) => void): ((text: string) => void) =>
    (text) => {
      clear()
      write(text)
    }
  try {
    return await work({ ...io, stdout: cleared(io.stdout), stderr: cleared(io.stderr) })
  } finally {
    clearInterval(timer)
    clear()
  }
}
