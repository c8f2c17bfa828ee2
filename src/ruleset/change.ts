/** A chain, a hook or a set that differs from what is in force, for people and for the trial of what changes. */
import type { Family } from '../address.ts'

export interface Change {
  kind: 'add' | 'replace' | 'remove' | 'hook'
  what: string
  family: Family
  removed: string[]
  added: string[]
}
