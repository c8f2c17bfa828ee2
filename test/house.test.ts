// The house rules that a machine can check: the pure rooms import nothing of the outside, and nothing is exported for nobody.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join('src', name))
const textOf = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]))
const importsOf = (file: string): { names: string; from: string; type: boolean }[] =>
  [...(textOf.get(file) ?? '').matchAll(/^import (type )?([\s\S]*?) from '([^']+)'$/gm)].map(
    ([, type, names = '', from = '']) => ({
      ...{ names, from, type: type !== undefined },
    }),
  )

const PURE_FOLDERS = [
  'src/fw',
  'src/guest',
  'src/nat',
  'src/ruleset',
  'src/facts',
  'src/explain',
  'src/doctor',
]
const PURE_FILES = [
  'address',
  'diagnostic',
  'hash',
  'json',
  'memo',
  'pipeline',
  'read',
  'settings',
  'sysctls',
].map((name) => `src/${name}.ts`)
const pure = files.filter((file) => PURE_FOLDERS.includes(dirname(file)) || PURE_FILES.includes(file))

test('the pure rooms import only each other and address arithmetic', () => {
  expect(pure.length).toBeGreaterThan(30)
  for (const file of pure) {
    for (const { from } of importsOf(file)) {
      if (!from.startsWith('.')) expect.soft(`${file}: ${from}`).toBe(`${file}: ip-cidr`)
      else expect.soft(pure, `${file} imports ${from}`).toContain(normalize(join(dirname(file), from)))
    }
  }
})

test('programs are started in one place only, and never through a shell', () => {
  const starters = files.filter((file) =>
    importsOf(file).some(({ from }) => /^(execa|node:child_process|child_process)$/.test(from)),
  )
  expect(starters.sort()).toEqual(['src/node/exec.ts'])
  for (const [file, text] of textOf) expect.soft(text, file).not.toMatch(/shell: *true|execSync/)
})

test('no value is exported that nobody imports (types may stand in signatures)', () => {
  const all = [
    ...files,
    ...readdirSync('test', { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join('test', name)),
  ]
  const texts = all.map((file) => ({ file, text: readFileSync(file, 'utf8') }))
  for (const file of files) {
    for (const [, name = ''] of (textOf.get(file) ?? '').matchAll(
      /^export (?:async )?(?:function\*?|const|class) (\w+)/gm,
    )) {
      const used = texts.some((other) => other.file !== file && new RegExp(`\\b${name}\\b`).test(other.text))
      expect.soft(used, `${file} exports ${name}`).toBe(true)
    }
  }
})
