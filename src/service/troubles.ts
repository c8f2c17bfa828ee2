/** Faults that leave NAT in force: reported once when they begin, and once when they are over. */
import type { Journal } from './journal.ts'

export interface Troubles {
  /** Reports a fault in this look. Equal words are the same fault. */
  warn: (message: string) => void
  /** At the end of a look. After a complete look, faults that were not reported again are over. */
  settle: (isWhole: boolean) => void
}

export function makeTroubles({ warning, info }: Journal): Troubles {
  let standing = new Set<string>()
  let heard = new Set<string>()
  return {
    warn(message) {
      if (!standing.has(message) && !heard.has(message)) warning(message)
      heard.add(message)
    },
    settle(isWhole) {
      const over = isWhole ? [...standing].filter((message) => !heard.has(message)) : []
      for (const message of over) info(`over: ${message}`)
      standing = isWhole ? heard : new Set([...standing, ...heard])
      heard = new Set()
    },
  }
}
