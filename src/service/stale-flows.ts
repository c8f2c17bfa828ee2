/** Ends stale flows beside the passes, so that a repair does not wait for hundreds of thousands of them. */
import type { Due } from '../node/apply.ts'
import { CommandFailed } from '../node/exec.ts'
import { endAllStaleFlows, type Conntrack, type FlowWork } from '../node/conntrack.ts'
import type { Journal } from './journal.ts'

export interface StaleFlows {
  /** For the pass that begins. If it fails, the next pass gets `due`. */
  ask: () => Due['flows']
  /** The pass succeeded and leaves this work. It replaces work that goes on, because it holds all endpoints of that. */
  passed: (conntrack: Conntrack, work: FlowWork | undefined, isDue: boolean) => void
  close: () => void
}

/** The same for each command that fails by it. */
function causeOf(error: Error): string {
  return error instanceof CommandFailed ? error.finished.stderr : error.message
}

export function makeStaleFlows({ info, warning }: Journal): StaleFlows {
  let [isDue, hasEnded] = [true, false]
  let asked: Due['flows'] = 'due'
  let current: FlowWork | undefined
  let [trouble, cause] = ['', '']
  const begin = async (conntrack: Conntrack, work: FlowWork): Promise<void> => {
    ;[current, hasEnded] = [work, false]
    const isCurrent = (): boolean => current === work
    try {
      const count = await endAllStaleFlows(conntrack, work, isCurrent)
      if (count > 0) info(`ended ${count} stale flows`)
      if (!isCurrent()) return
      if (trouble !== '') info(`over: ${trouble}`)
      ;[trouble, cause, hasEnded] = ['', '', true]
    } catch (error) {
      const before = cause
      cause = causeOf(error as Error)
      if (cause === before) return
      trouble = `stale flows are not ended: ${(error as Error).message}`
      warning(trouble)
    }
  }
  return {
    ask() {
      asked = isDue || trouble !== '' ? 'due' : hasEnded ? 'ended' : 'waiting'
      isDue = true
      return asked
    },
    passed(conntrack, work, isStillDue) {
      isDue = isStillDue
      if (asked === 'ended') hasEnded = false
      if (work) void begin(conntrack, work)
    },
    close() {
      current = undefined
    },
  }
}
