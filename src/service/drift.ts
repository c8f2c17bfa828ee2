/**
 * Notices that somebody changed what is ours in the kernel. Rules: at once by events, where a program tells of writers
 * (monitorRules); without it, or while it is down, by glances each second or so. Sysctls and the members of own sets, of which
 * nobody tells: each second (large sets: see Members). The loop between the interfaces: by events of the network. The rest (an
 * event that was lost) is found when everything is compared, see `isSure`.
 */
import type { Backend } from '../facts/backend.ts'
import { makeAccount } from './account.ts'
import { monitorRules, type Monitor } from '../node/monitor.ts'

const TICK_MS = 1000
/** One writer comes seldom alone, and is told of before it has ended. */
const SETTLE_MS = 20
/** Between glances, however many writers there are and however long a glance takes on a busy machine. */
const PAUSE_FACTOR = 9
const MAX_PAUSE_MS = 700

/** What the watch needs to know; a failure to find out is no drift. */
interface Looks {
  areRulesDrifted: () => Promise<boolean>
  isRestDrifted: () => Promise<boolean>
}

export interface Drift extends Pick<Monitor, 'close'> {
  /** Whether nobody can have changed anything of ours since all of it was compared. */
  isSure: () => boolean
  /**
   * A pass begins, which changes what is looked for: no glance until it ends. Call what it returns at its end, with whether all is then as
   * it should be.
   */
  passing: () => (isRight: boolean) => void
  /** Everything is about to be read, so what was noticed up to now is seen by the pass. */
  reading: () => void
  /** Something changed that only a full comparison can see. */
  touch: () => void
}

export function watchKernel(backend: Backend, looks: Looks, hint: () => void): Drift {
  let closed = false
  let timer: NodeJS.Timeout | undefined
  let soon: NodeJS.Timeout | undefined
  let glancedAt = -Infinity
  let glanceMs = 0
  const account = makeAccount()

  const drifted = (): void => {
    account.doubt()
    hint()
  }
  const glance = async (): Promise<void> => {
    soon = undefined
    glancedAt = performance.now()
    const isOther = await account.compare(looks.areRulesDrifted)
    glanceMs = performance.now() - glancedAt
    if (isOther) drifted()
  }
  const glanceSoon = (): void => {
    if (closed || soon || account.isPassing()) return
    const pauseMs = Math.min(MAX_PAUSE_MS, glanceMs * PAUSE_FACTOR)
    const leftMs = glancedAt + glanceMs + pauseMs - performance.now()
    soon = setTimeout(() => void glance(), Math.max(SETTLE_MS, leftMs))
  }
  const touch = (): void => {
    account.notice()
    glanceSoon()
  }
  const monitor = monitorRules(backend, touch)
  const tick = async (): Promise<void> => {
    const start = performance.now()
    if (!monitor.isAlive()) touch()
    const isTooEarly = account.isPassing()
    if (!isTooEarly && (await account.look(looks.isRestDrifted))) drifted()
    const leftMs = isTooEarly ? 0 : TICK_MS - (performance.now() - start)
    if (!closed) timer = setTimeout(() => void tick(), Math.max(leftMs, TICK_MS / 4))
  }
  timer = setTimeout(() => void tick(), TICK_MS)
  return {
    close() {
      closed = true
      clearTimeout(timer)
      clearTimeout(soon)
      monitor.close()
    },
    isSure: () => monitor.isAlive() && account.isSettled(),
    passing() {
      clearTimeout(soon)
      soon = undefined
      const passed = account.pass()
      return (isRight) => {
        passed(isRight)
        if (account.isBehind()) glanceSoon()
      }
    },
    reading: account.reading,
    touch: account.doubt,
  }
}
