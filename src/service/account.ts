/** Everything is compared when this many times as long as that takes has gone by, but not at all times nor never. */
const FULL_FACTOR = 500
const [FULL_MIN_MS, FULL_MAX_MS] = [5000, 300_000]

/** Which of the changes that somebody may have made are known by now. */
export interface Account {
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

export function makeAccount(now: () => number = () => performance.now()): Account {
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
      const own: typeof current = { start: now() }
      current = own
      return (isRight) => {
        current = undefined
        if (isRight && own.seen !== undefined)
          [compared, comparedAt, comparedMs] = [own.seen, own.start, now() - own.start]
      }
    },
    reading() {
      if (current) current.seen = noticed
    },
    isPassing: () => current !== undefined,
    isBehind: () => compared >= 0 && compared < noticed,
    isSettled() {
      const maxMs = Math.min(FULL_MAX_MS, Math.max(FULL_MIN_MS, comparedMs * FULL_FACTOR))
      return compared === noticed && now() - comparedAt < maxMs
    },
  }
}
