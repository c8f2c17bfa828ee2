/**
 * Notices that somebody changed what is ours in the kernel. Rules: at once by events, where a program tells of writers
 * (monitorRules); without it, or while it is down, by glances each second or so. Sysctls, and the number of members of each own
 * set, of which nobody tells: each second. The loop between the interfaces: by events of the network. The rest (a member of
 * a set put in the place of another one, an event that was lost) is found when everything is compared, see `isSure`.
 */
import type { Backend } from '../facts/backend.ts'
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
    if (!account.isPassing() && (await account.look(looks.isRestDrifted))) drifted()
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

/** Which of the changes that somebody may have made are known by now. */
interface Account {
  /** There may have been one. */
  notice: () => void
  /** Only a pass that reads everything can tell. */
  doubt: () => void
  /** What a look at the rules tells: whether they differ. When they do not, what was noticed before it is settled. */
  compare: (look: () => Promise<boolean>) => Promise<boolean>
  /** What any other look tells. What a pass changes meanwhile is no drift. */
  look: (look: () => Promise<boolean>) => Promise<boolean>
  pass: () => (isRight: boolean) => void
  reading: () => void
  isPassing: () => boolean
  /** Whether a glance would settle what was noticed. */
  isBehind: () => boolean
  /** Whether there is nothing to find out, and it is not long since everything was read. */
  isSettled: () => boolean
}

function makeAccount(): Account {
  /** What was compared when `noticed` stood at `compared` is known. */
  let [noticed, compared] = [1, 0]
  let [comparedAt, comparedMs] = [0, 0]
  let passes = 0
  /** The pass that goes on: when it began, and what had been noticed when it read everything last. */
  let current: { start: number; seen?: number } | undefined

  /** Undefined when a pass came between, or nothing can be found out. */
  const look = async (ask: () => Promise<boolean>): Promise<boolean | undefined> => {
    const before = passes
    const isOther = await ask().catch(() => undefined)
    return passes === before ? isOther : undefined
  }
  return {
    notice: () => void noticed++,
    doubt() {
      compared = -1
      if (current) delete current.seen
    },
    async compare(ask) {
      const seen = noticed
      const isOther = await look(ask)
      if (isOther === false && compared >= 0) compared = Math.max(compared, seen)
      return isOther === true
    },
    look: async (ask) => (await look(ask)) === true,
    pass() {
      passes++
      const own: typeof current = { start: performance.now() }
      current = own
      return (isRight) => {
        current = undefined
        if (isRight && own.seen !== undefined)
          [compared, comparedAt, comparedMs] = [own.seen, own.start, performance.now() - own.start]
      }
    },
    reading() {
      if (current) current.seen = noticed
    },
    isPassing: () => current !== undefined,
    isBehind: () => compared >= 0 && compared < noticed,
    isSettled() {
      const maxMs = Math.min(FULL_MAX_MS, Math.max(FULL_MIN_MS, comparedMs * FULL_FACTOR))
      return compared === noticed && performance.now() - comparedAt < maxMs
    },
  }
}
