/** NAT rules that the kernel refuses: left out look after look, and offered again now and then, for a module may have come. */
import type { Refused } from '../node/quarantine.ts'

const AGAIN_MS = 60_000

interface Quarantine {
  rules: () => Refused
  /** Whether this look is to offer them once more; it is taken to do so. */
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
