/** A loop's alarm clock: sleeps for an interval, or less when somebody calls. Calls while awake are not lost. */
interface Wakeup {
  call: () => void
  /** Resolves after `ms`, or `settleMs` after a call. */
  sleep: (ms: number, settleMs: number) => Promise<void>
}

export function makeWakeup(): Wakeup {
  let called = false
  let ring: (() => void) | undefined
  return {
    call() {
      called = true
      ring?.()
    },
    async sleep(ms, settleMs) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, called ? settleMs : ms)
        ring = () => {
          clearTimeout(timer)
          setTimeout(resolve, settleMs)
          ring = undefined
        }
      })
      called = false
      ring = undefined
    },
  }
}
