import { expect, test } from 'vitest'
import { makeAnswers } from '../../src/node/answers.ts'

test('a program that cannot tell keeps its last answer, and is asked again', async () => {
  let clock = 0
  const answers = makeAnswers(() => clock)
  const says = (value: string | undefined): Promise<string | undefined> =>
    answers.askSeldom('rules', () => Promise.resolve(value))
  expect(await says('DNAT')).toBe('DNAT')
  expect(await says('nothing')).toBe('DNAT')
  answers.forgetRules()
  expect(await says(undefined)).toBe('DNAT')
  clock += 5000
  expect(await says(undefined)).toBe('DNAT')
  answers.forgetRules()
  expect(await says('')).toBe('')
})
