/** NAT rules that the kernel refuses: left out of each look, and offered again from time to time, because a module may have been loaded. */
import type { Refused } from '../node/find-refused.ts'

const AGAIN_MS = 60_000

interface Quarantine {
  rules: () => Refused
  /** Whether this look offers them once more; the look counts as an offer. */
  isDue: () => boolean
  note: (rules: Refused) => void
  /** The next look offers them. */
  release: () => void
}

export function makeQuarantine(now: () => number): Quarantine {
  let rules: Refused = new Map()
  let offered = 0
  return {
    rules: () => rules,
    isDue() {
      const isDue = rules.size > 0 && now() - offered >= AGAIN_MS
      if (isDue) offered = now()
      return isDue
    },
    note(next) {
      if (rules.size === 0) offered = now()
      rules = next
    },
    release() {
      offered = -Infinity
    },
  }
}
