// What the documents name in their sentences is there: commands and their options, settings, scripts of npm, files.
import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { COMMANDS, COMMON_OPTIONS } from '../../src/commands/table.ts'
import { documents } from './commands.ts'

const named = documents.flatMap((path) =>
  [...readFileSync(path, 'utf8').matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => ({ path, text })),
)
const matching = (pattern: RegExp) => named.filter(({ text }) => pattern.test(text))

test('commands and their options', () => {
  const lines = matching(/^pvenat [a-z]/)
  expect(lines.length).toBeGreaterThan(30)
  for (const { path, text } of lines) {
    const [, name = '', ...words] = text.split(' ')
    const options = Object.keys({ ...COMMANDS[name]?.options, ...COMMON_OPTIONS })
    expect.soft(Object.keys(COMMANDS), `${path}: ${text}`).toContain(name)
    for (const word of words.filter((one) => one.startsWith('--')))
      expect.soft(options, `${path}: ${text}`).toContain(word.slice(2))
  }
})

test('settings', () => {
  const known = [...readFileSync('install/pvenat.conf', 'utf8').matchAll(/^;([a-z-]+) = /gm)].map(
    ([, name]) => name,
  )
  const lines = matching(/^(\[guest \w+\] )?[a-z-]+ = /)
  expect(lines.length).toBeGreaterThan(5)
  for (const { path, text } of lines)
    expect.soft(known, `${path}: ${text}`).toContain(text.replace(/^\[.*?\] /, '').split(' ')[0])
})

test('scripts of npm, and files', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }
  for (const { path, text } of matching(/^npm run /))
    expect.soft(Object.keys(scripts), `${path}: ${text}`).toContain(text.split(' ')[2])
  const files = matching(/^(src|test|docs|install|debian|fixtures)\/[\w./-]+$/)
  expect(files.length).toBeGreaterThan(30)
  for (const { path, text } of files) expect.soft(existsSync(text), `${path}: ${text}`).toBe(true)
})
