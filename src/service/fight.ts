/** Two programs that undo each other's work: repairs come at once, but at a falling rate when the same one does not last. */

const SETTLE_MS = 20
const MAX_SETTLE_MS = 30_000
/** Repairs of the same thing that come sooner than this after the one before belong to one fight. */
const FIGHT_GAP_MS = 10_000
/** So many in a row are an accident, more are a fight. */
const PATIENCE = 3

export interface Fight {
  /** Milliseconds to wait after a hint before the next look. Long enough for the two steps of a save by rename. */
  settleMs: () => number
  /** Notes that `what` was repaired; true when it is the one at which somebody should be told. */
  repaired: (what: string) => boolean
}

export function makeFight(now: () => number): Fight {
  const rounds = new Map<string, { inARow: number; last: number }>()
  const settleMs = (): number => {
    for (const [what, { last }] of rounds)
      if (now() - last > FIGHT_GAP_MS + MAX_SETTLE_MS) rounds.delete(what)
    const longest = Math.max(0, ...[...rounds.values()].map(({ inARow }) => inARow))
    return Math.min(MAX_SETTLE_MS, SETTLE_MS * 2 ** Math.max(0, longest - PATIENCE))
  }
  return {
    settleMs,
    repaired(what) {
      const before = rounds.get(what)
      const isSame = before !== undefined && now() - before.last < FIGHT_GAP_MS + settleMs()
      const inARow = isSame ? before.inARow + 1 : 1
      rounds.set(what, { inARow, last: now() })
      return inARow === PATIENCE + 1
    },
  }
}
