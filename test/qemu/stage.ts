/** The words of the packet table: who asks whom, who has to answer, and what a stage tells. The guest asks, the host judges. */
import type { Answer, AskOptions, Reply } from '../lab/talk.ts'

export interface Row {
  name: string
  from: string
  /** `ADDRESS:PORT/PROTO` */
  to: string
  options?: AskOptions
  /** Null: nobody. */
  answer: Partial<Reply> | null
}

/** What a stage told: answers by the name of the row, facts by theirs. */
export interface Told {
  stage: string
  answers: Record<string, Answer>
  facts: Record<string, unknown>
}

export interface Stage {
  stage: string
  rows: readonly Row[]
  facts: Readonly<Record<string, unknown>>
}

export const NODE4 = '203.0.113.2'
export const NODE6 = '[2001:db8:113::2]'
export const CLIENT4 = '198.51.100.7'
export const CLIENT6 = '2001:db8:51::7'

export const row = (name: string, from: string, to: string, answer: Row['answer'], source?: string): Row => ({
  name,
  from,
  to,
  answer,
  ...(source === undefined ? {} : { options: { from: source } }),
})

/** The same questions, to which nobody may answer. */
export const silent = (rows: readonly Row[]): Row[] => rows.map((one) => ({ ...one, answer: null }))
