/** What goes wrong without keeping NAT from being in force: said once when it comes, and once when it is over. */
import type { Journal } from './journal.ts'

export interface Troubles {
  /** Something goes wrong in this look. Equal words are the same trouble. */
  warn: (message: string) => void
  /** At the end of a look. After one that went to its end, what was not heard of again is over. */
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
