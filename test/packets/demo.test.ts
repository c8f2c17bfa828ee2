// The demo, and the picture of it in the README: what it prints today. `UPDATE=1` draws it anew.
import { readFile, writeFile } from 'node:fs/promises'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { recordingOf, withoutChance } from '../demo/recording.ts'

const PICTURE = 'docs/pictures/demo.svg'

test('the picture of the demo shows what the demo prints', async () => {
  const { stdout } = await execa('sh', ['install/demo.sh'], { timeout: 100_000 })
  const story = stdout.slice(stdout.indexOf('pvenat demo, '))
  expect(withoutChance(story)).toMatch(/\ndemo: every step was seen to work$/)
  if (process.env['UPDATE'] === '1') await writeFile(PICTURE, recordingOf(story))
  expect(recordingOf(story)).toBe(await readFile(PICTURE, 'utf8'))
}, 120_000)
