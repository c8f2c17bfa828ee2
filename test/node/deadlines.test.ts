// Questions with a deadline: a late answer, a second question, and a process that did not run meanwhile.
import { stat } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { Late, makeDeadlines } from '../../src/node/deadlines.ts'

test('a late answer costs the limit once, and is told when it comes', async () => {
  let told = 0
  let answer = (): void => undefined
  const ask = makeDeadlines(300, () => told++)
  const question = () => new Promise<string>((resolve) => (answer = () => resolve('text')))
  await expect(ask('105.fw', question)).rejects.toThrow(Late)
  const start = performance.now()
  await expect(ask('105.fw', () => Promise.resolve('asked again'))).rejects.toThrow(Late)
  expect(performance.now() - start).toBeLessThan(250)
  expect(await ask('107.fw', () => Promise.resolve('of another'))).toBe('of another')
  expect(told).toBe(0)
  answer()
  await Promise.resolve()
  expect(told).toBe(1)
  expect(await ask('105.fw', () => Promise.resolve('text'))).toBe('text')
})

test('an answer that waits while the process does not run is no late one', async () => {
  const ask = makeDeadlines(10, () => undefined)
  const question = ask('/', () => stat('/'))
  const end = performance.now() + 50
  while (performance.now() < end);
  expect((await question).isDirectory()).toBe(true)
})
