/** Two programs that undo each other's work: repairs come at once, but at a falling rate when the same one does not last. */

const SETTLE_MS = 10
const MAX_SETTLE_MS = 30_000
/** Whoever undoes a repair sooner than this after it fights us; a repair that lasts longer may as well come at once. */
const QUICK_MS = 3_000
/** Repairs of the same thing that come sooner than this after the one before are no accident. */
const FIGHT_GAP_MS = 15_000
/** So many in a row are an accident, more are a fight. */
const PATIENCE = 3

export interface Fight {
  /** Calls `hint` of something that others did in the kernel: the later, the longer a fight lasts, and once for all that is done until then. */
  later: (hint: () => void) => void
  /** How long, in milliseconds, what was undone may stay so before it is repaired once more. */
  pauseMs: () => number
  /** Notes that `what` was repaired; true when it is the one at which somebody should be told. */
  repaired: (what: string) => boolean
}

/** `quick` counts repairs that were undone at once, `inARow` all that belong together. */
interface Round {
  quick: number
  inARow: number
  last: number
}

export function makeFight(now: () => number): Fight {
  const rounds = new Map<string, Round>()
  const pauseMs = (): number => {
    for (const [what, { last }] of rounds)
      if (now() - last > FIGHT_GAP_MS + MAX_SETTLE_MS) rounds.delete(what)
    const longest = Math.max(0, ...[...rounds.values()].map(({ quick }) => quick))
    return Math.min(MAX_SETTLE_MS, SETTLE_MS * 2 ** Math.max(0, longest - PATIENCE))
  }
  let timer: NodeJS.Timeout | undefined
  return {
    pauseMs,
    later(hint) {
      timer ??= setTimeout(() => {
        timer = undefined
        hint()
      }, pauseMs()).unref()
    },
    repaired(what) {
      const before = rounds.get(what)
      const sinceMs = before === undefined ? Infinity : now() - before.last - pauseMs()
      const inARow = sinceMs < FIGHT_GAP_MS ? (before?.inARow ?? 0) + 1 : 1
      const quick = sinceMs < QUICK_MS ? (before?.quick ?? 0) + 1 : 1
      rounds.set(what, { quick, inARow, last: now() })
      return inARow === PATIENCE + 1
    },
  }
}
