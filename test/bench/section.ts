/** What every part of the bench gets, and gives. */
import type { Backend } from '../lab/index.ts'
import type { Table } from './table.ts'
import type { Target } from './targets.ts'

export interface Size {
  forwards: readonly number[]
  /** How often a section that makes its round through sizes and ways does so. */
  rounds: number
  /** How many edits are made while connections are opened. */
  edits: number
  /** Over what time the idle service is watched. */
  idleSeconds: number
  /** For how long edits go on while memory is watched. */
  growthMinutes: number
}

export const FULL: Size = {
  forwards: [1, 100, 1000, 10_000, 30_000],
  rounds: 9,
  edits: 1000,
  idleSeconds: 600,
  growthMinutes: 30,
}
/** Shows that everything can be measured, and roughly where it stands. */
export const QUICK: Size = {
  forwards: [1, 100, 1000],
  rounds: 3,
  edits: 30,
  idleSeconds: 20,
  growthMinutes: 1,
}

/** From so many forwards on, fewer rounds, for they take seconds. */
export const MANY = 10_000
export const ROUNDS_OF_MANY = 3

export interface Measured {
  tables: Table[]
  targets: Target[]
}

export interface Section {
  name: string
  run: (size: Size) => Promise<Measured>
}

export const lineOf = (backend: Backend, forwards: number, more = ''): string =>
  `${backend} ${forwards.toLocaleString('en')}${more}`
