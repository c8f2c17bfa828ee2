// The house rules that a machine can check: who knows whom, and that nothing is exported for nobody.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => join('src', name))
const textOf = (file: string): string => readFileSync(file, 'utf8')
const importsOf = (file: string): { names: string; from: string }[] =>
  [...textOf(file).matchAll(/^(?:import|export) ([^'\n]*?|\{[^}]*\}|type \{[^}]*\}) from '([^']+)'$/gm)].map(
    ([, names = '', from = '']) => ({ names, from }),
  )

const targetsOf = (file: string): string[] =>
  importsOf(file).flatMap(({ from }) => (from.startsWith('.') ? [normalize(join(dirname(file), from))] : []))

const PURE_FOLDERS = [
  'src/fw',
  'src/guest',
  'src/nat',
  'src/ruleset',
  'src/facts',
  'src/explain',
  'src/checks',
  'src/import',
]
const PURE_FILES = [
  'address',
  'advice',
  'sentences',
  'diagnostic',
  'file-cache',
  'hash',
  'ip',
  'json',
  'lists',
  'nearest',
  'network',
  'pipeline',
  'ports',
  'read',
  'settings',
  'sysctls',
  'uplinks',
  'wordings',
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

/** The table of ARCHITECTURE.md, top to bottom: a room knows those above it and loose files. */
const ROOMS = [
  'fw',
  'guest',
  'nat',
  'ruleset',
  'facts',
  'checks',
  'explain',
  'import',
  'show',
  'node',
  'web',
  'service',
  'commands',
]
const roomOf = (file: string): number => ROOMS.indexOf(file.split('/').slice(1, -1)[0] ?? '')

test('a room knows only the rooms above it', () => {
  const sides = files.flatMap((file) => targetsOf(file).map((target) => ({ file, target })))
  const upward = sides.filter(({ file, target }) => roomOf(file) >= 0 && roomOf(target) > roomOf(file))
  expect(upward.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
})

test('no file comes back to itself through what it imports', () => {
  const done = new Set<string>()
  const walk = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) expect.soft([...way.slice(way.indexOf(file)), file].join(' > ')).toBe('no circle')
    if (done.has(file)) return
    done.add(file)
    for (const target of targetsOf(file)) walk(target, [...way, file])
  }
  for (const file of files) walk(file, [])
})

test('programs are started in one place only, and never through a shell', () => {
  const starters = files.filter((file) =>
    importsOf(file).some(({ from }) => /^(execa|node:child_process|child_process)$/.test(from)),
  )
  expect(starters.sort()).toEqual(['src/node/exec.ts'])
  for (const file of files) expect.soft(textOf(file), file).not.toMatch(/shell: *true|execSync/)
})

/** The names of an import; of `* as room` each `room.name` of the file. */
function namesUsed(file: string, names: string): string[] {
  const [, room] = /\* as (\w+)/.exec(names) ?? []
  if (room === undefined) return names.match(/\w+/g) ?? []
  return [...textOf(file).matchAll(new RegExp(`\\b${room}\\.(\\w+)`, 'g'))].map(([, name = '']) => name)
}

test('nothing is exported that nobody imports', () => {
  const tests = readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join('test', name))
  const imported = new Set(
    [...files, ...tests].flatMap((file) =>
      importsOf(file).flatMap(({ names, from }) =>
        namesUsed(file, names).map((name) => `${normalize(join(dirname(file), from))} ${name}`),
      ),
    ),
  )
  const exported = files.flatMap((file) =>
    [...textOf(file).matchAll(/^export (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm)].map(
      ([, name = '']) => `${file} ${name}`,
    ),
  )
  expect(exported.filter((name) => !imported.has(name))).toEqual([])
})
