/** The diff of one chain, hook or set, for people and for the trial. */
import type { Family } from '../address.ts'

export interface Change {
  kind: 'add' | 'replace' | 'remove' | 'hook'
  what: string
  family: Family
  removed: string[]
  added: string[]
}
