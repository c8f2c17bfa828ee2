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

test('rules that are written without end cost a slow answer no more than a tenth of the time', async () => {
  let clock = 0
  let asked = 0
  const answers = makeAnswers(() => clock)
  for (; clock < 99_000; clock += 20) {
    answers.forgetRules()
    await answers.askSeldom('rules', () => {
      asked++
      clock += 2000
      return Promise.resolve('')
    })
  }
  expect(asked).toBe(5)
  // The last one began at 80 s.
  answers.forgetRules()
  expect(answers.waitMs()).toBe(100_000 - clock)
})
