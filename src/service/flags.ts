/** Events and the clock raise flags; the loop waits for them. A flag that is raised while the loop works is not lost. */

/** `look`: inputs may have changed. `kernel`: rules, sets or interfaces of ours may have been changed by others. */
type Flag = 'look' | 'kernel'

export interface Flags {
  raise: (flag: Flag) => void
  /** The time of the first raise since it was lowered, in milliseconds of performance.now(). */
  raisedAt: (flag: Flag) => number | undefined
  lower: (flag: Flag) => void
  /** Resolves at the time that `due` gives, which is asked again whenever a flag is raised. */
  wait: (due: () => number) => Promise<void>
}

export function makeFlags(): Flags {
  const raised = new Map<Flag, number>()
  let wake = (): void => undefined
  return {
    raise(flag) {
      if (!raised.has(flag)) raised.set(flag, performance.now())
      wake()
    },
    raisedAt: (flag) => raised.get(flag),
    lower: (flag) => void raised.delete(flag),
    async wait(due) {
      // Lets events in even if a turn is always due.
      await new Promise(setImmediate)
      for (let leftMs = due() - performance.now(); leftMs > 0; leftMs = due() - performance.now()) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, leftMs)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
    },
  }
}
