/**
 * Notices that somebody changed what is ours in the kernel. Rules: at once by events, where a program tells of writers
 * (monitorRules); without it, or while it is down, by glances each second or so. Sysctls, and the number of members of each own
 * set, of which nobody tells: each second. The loop between the interfaces: by events of the network. The rest (a member of
 * a set put in the place of another one, an event that was lost) is found when everything is compared, see `isSure`.
 */
import type { Backend } from '../node/backend.ts'
import { monitorRules, type Monitor } from '../node/monitor.ts'

const TICK_MS = 1000
/** One writer comes seldom alone, and is told of before it has ended. */
const SETTLE_MS = 20
/** Between glances, however many writers there are and however long a glance takes on a busy machine. */
const PAUSE_FACTOR = 9
const MAX_PAUSE_MS = 700
/** Everything is compared when this many times as long as that takes has gone by, but not at all times nor never. */
const FULL_FACTOR = 500
const [FULL_MIN_MS, FULL_MAX_MS] = [5000, 120_000]

/** What the watch needs to know; a failure to find out is no drift. */
export interface Looks {
  areRulesDrifted: () => Promise<boolean>
  isRestDrifted: () => Promise<boolean>
}

export interface Drift extends Pick<Monitor, 'close'> {
  /** Whether nobody can have changed anything of ours since all of it was compared, which took `tookMs`. */
  isSure: () => boolean
  /** Everything is being compared now. Call what it returns when it was as it should be. */
  comparing: () => () => void
  /** Something changed that only a full comparison can see. */
  touch: () => void
}

export function watchKernel(backend: Backend, looks: Looks, hint: () => void): Drift {
  let closed = false
  let timer: NodeJS.Timeout | undefined
  let soon: NodeJS.Timeout | undefined
  let glancedAt = -Infinity
  let glanceMs = 0
  /** Counts what may have been a change; what was compared when it stood at `compared` is known. */
  let touches = 1
  let compared = 0
  let [comparedAt, comparedMs] = [0, 0]

  const drifted = (): void => {
    touches++
    compared = -1
    hint()
  }
  const glance = async (): Promise<void> => {
    soon = undefined
    const [start, seen] = [performance.now(), touches]
    glancedAt = start
    if (await looks.areRulesDrifted().catch(() => false)) drifted()
    else if (compared >= 0) compared = Math.max(compared, seen)
    glanceMs = performance.now() - start
  }
  const glanceSoon = (): void => {
    if (closed || soon) return
    const pauseMs = Math.min(MAX_PAUSE_MS, glanceMs * PAUSE_FACTOR)
    const leftMs = glancedAt + glanceMs + pauseMs - performance.now()
    soon = setTimeout(() => void glance(), Math.max(SETTLE_MS, leftMs))
  }
  const touch = (): void => {
    touches++
    glanceSoon()
  }
  const monitor = monitorRules(backend, touch)
  const tick = async (): Promise<void> => {
    const start = performance.now()
    if (!monitor.isAlive()) touch()
    if (await looks.isRestDrifted().catch(() => false)) drifted()
    const tookMs = performance.now() - start
    if (!closed) timer = setTimeout(() => void tick(), Math.max(TICK_MS - tookMs, TICK_MS / 4))
  }
  timer = setTimeout(() => void tick(), TICK_MS)
  return {
    close() {
      closed = true
      clearTimeout(timer)
      clearTimeout(soon)
      monitor.close()
    },
    isSure() {
      const ageMs = performance.now() - comparedAt
      const maxMs = Math.min(FULL_MAX_MS, Math.max(FULL_MIN_MS, comparedMs * FULL_FACTOR))
      return monitor.isAlive() && compared === touches && ageMs < maxMs
    },
    comparing() {
      const [seen, start] = [touches, performance.now()]
      return () => {
        ;[compared, comparedAt, comparedMs] = [seen, start, performance.now() - start]
      }
    },
    touch: () => void (compared = -1),
  }
}
