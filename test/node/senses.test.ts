// One ip stays and is asked for neighbours again and again; a new one would say the same.
import { expect, test, vi } from 'vitest'
import * as exec from '../../src/node/exec.ts'
import { FRESH, makeSenses } from '../../src/node/senses.ts'

vi.mock('../../src/node/exec.ts', { spy: true })

const addressesIn = (text: string | undefined): unknown[] =>
  (JSON.parse(text ?? '') as { dst: string }[]).map(({ dst }) => dst).sort()

test('neighbours', async () => {
  const fresh = addressesIn(await FRESH.neighbours())
  expect(exec.run).toHaveBeenCalledTimes(1)
  const senses = makeSenses()
  for (let i = 0; i < 3; i++) expect(addressesIn(await senses.neighbours())).toEqual(fresh)
  expect(exec.hold).toHaveBeenCalledTimes(1)
  senses.close()
  // Closed, it starts none that stays.
  expect(addressesIn(await senses.neighbours())).toEqual(fresh)
  expect(exec.hold).toHaveBeenCalledTimes(1)
  expect(exec.run).toHaveBeenCalledTimes(2)
})
