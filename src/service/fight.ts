/** Two programs that undo each other's work: repairs come at once, but at a falling rate when they do not last. */

const SETTLE_MS = 20
const MAX_SETTLE_MS = 30_000
/** Repairs that come sooner than this after the one before belong to one fight. */
const FIGHT_GAP_MS = 10_000
/** So many in a row are an accident, more are a fight. */
const PATIENCE = 5

export interface Fight {
  /** Milliseconds to wait after a hint before the next look. Long enough for the two steps of a save by rename. */
  settleMs: () => number
  /** Notes a repair; true when it is the one at which somebody should be told. */
  repaired: () => boolean
}

export function makeFight(now: () => number): Fight {
  let inARow = 0
  let last = -Infinity
  return {
    settleMs() {
      if (now() - last > FIGHT_GAP_MS + MAX_SETTLE_MS) inARow = 0
      return Math.min(MAX_SETTLE_MS, SETTLE_MS * 2 ** Math.max(0, inARow - PATIENCE))
    },
    repaired() {
      inARow = now() - last < FIGHT_GAP_MS + this.settleMs() ? inARow + 1 : 1
      last = now()
      return inARow === PATIENCE + 1
    },
  }
}
