/** Check tells a diagnostic until its help is typed: for tests whose lab is one of their own. */
import { expect } from 'vitest'
import type { Code } from '../../src/diagnostic.ts'
import type { Pvenat } from '../lab/index.ts'

export interface Told {
  file: string
  line: number
  code: string
  message: string
  help: string | null
}

/** All diagnostics of the node, or of files that are not in place. */
export async function check(pvenat: Pvenat, ...files: string[]): Promise<Told[]> {
  return JSON.parse((await pvenat.run('check', '--json', ...files)).stdout) as Told[]
}

/** Check tells the code in these words, sentence and help, and after `type` does so no more. */
export async function toldUntil(
  pvenat: Pvenat,
  code: Code,
  says: RegExp,
  type: () => Promise<unknown>,
  ...files: string[]
): Promise<void> {
  const told = async () =>
    (await check(pvenat, ...files))
      .filter((one) => one.code === code)
      .map(({ message, help }) => `${message}\n${help}`)
      .join('\n\n')
  expect(await told()).toMatch(says)
  await type()
  expect(await told()).not.toMatch(says)
}
