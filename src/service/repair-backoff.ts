/** Repairs come at once, but at a falling rate while another program keeps undoing them. */

const MAX_PAUSE_MS = 30_000
const FIRST_PAUSE_MS = 10
/** A repair that is undone within this time is undone on purpose. */
const QUICK_MS = 3000
/** Repairs of the same chains that follow each other within this time belong together. */
const GAP_MS = 15_000
/** Repairs in a row that may be chance; more are reported. */
const PATIENCE = 3

export interface RepairBackoff {
  /** Time for which a change by another program stays before it is repaired. */
  pauseMs: () => number
  /** Notes a repair of these chains; true for the repair at which the other program is reported. */
  repaired: (chains: string) => boolean
}

/** `quick` counts repairs that were undone within QUICK_MS, `inARow` all that belong together. */
interface Series {
  quick: number
  inARow: number
  last: number
}

export function makeRepairBackoff(now: () => number = () => performance.now()): RepairBackoff {
  const all = new Map<string, Series>()
  const pauseMs = (): number => {
    for (const [chains, { last }] of all) if (now() - last > GAP_MS + MAX_PAUSE_MS) all.delete(chains)
    const longest = Math.max(0, ...[...all.values()].map(({ quick }) => quick))
    return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, longest - PATIENCE))
  }
  return {
    pauseMs,
    repaired(chains) {
      const before = all.get(chains)
      const sinceMs = before === undefined ? Infinity : now() - before.last - pauseMs()
      const inARow = sinceMs < GAP_MS ? (before?.inARow ?? 0) + 1 : 1
      const quick = sinceMs < QUICK_MS ? (before?.quick ?? 0) + 1 : 1
      all.set(chains, { quick, inARow, last: now() })
      return inARow === PATIENCE + 1
    },
  }
}
