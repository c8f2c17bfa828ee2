// Whatever users write: nothing throws, nothing of it reaches the kernel, and nothing but own chains and sets is touched.
// RUNS=1000000 npx vitest run --project unit test/hostile/fuzz.test.ts
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import type { Diagnostic } from '../../src/diagnostic.ts'
import { readSettings } from '../../src/node/settings.ts'
import { readPve } from '../../src/node/rounds.ts'
import { treeOf, Unreadable } from '../../src/node/tree.ts'
import { strangeLines } from './grammar.ts'
import { run, shown } from './node.ts'
import { hostileSettings } from './settings.ts'
import { hostileTree } from './trees.ts'
import { MARKER } from './words.ts'

const numRuns = Number(process.env.RUNS ?? 10_000)

const scratch = mkdtempSync(join(tmpdir(), 'pvenat-hostile-'))
afterAll(() => rmSync(scratch, { recursive: true }))

/** Every diagnostic points at a part of a line that is there. */
function expectPlaces(diagnostics: readonly Diagnostic[], sources: ReadonlyMap<string, string>): void {
  for (const { code, place } of diagnostics) {
    const line = sources.get(place.file)?.split('\n')[place.span.line - 1]
    const { from, to } = place.span
    if (line === undefined || from < 0 || from > to || to > Buffer.byteLength(line, 'latin1'))
      expect.fail(`${code} points at ${JSON.stringify(place)}, where ${JSON.stringify(line)} stands`)
  }
}

/** What a terminal or the journal would take for something else than text. */
const DANGEROUS = /[\0-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/

let reached = 0
let written = 0

test(`${numRuns} hostile trees`, { timeout: 60_000 + numRuns * 60 }, async () => {
  await fc.assert(
    fc.asyncProperty(hostileTree, async (tree) => {
      // Else vitest would not hear of its worker for minutes, where the machine is busy.
      await setImmediate()
      const result = run(tree)
      const { translation } = result.outcome
      const strange = strangeLines(result.input)
      if (strange.length > 0)
        expect.fail(`these lines would go to the kernel:\n${strange.slice(0, 5).join('\n')}`)
      if (result.input.toLowerCase().includes(MARKER.toLowerCase()))
        expect.fail(`user text in:\n${result.input}`)
      expectPlaces(translation.diagnostics, result.sources)
      if (DANGEROUS.test(shown(result)))
        expect.fail(`control characters in:\n${JSON.stringify(shown(result))}`)
      reached += translation.rules.length
      written += translation.rules.filter(({ state }) => state === 'active').length
    }),
    { numRuns },
  )
})

test('the trees reach the kernel: they hold rules, and some are in force', () => {
  expect(reached).toBeGreaterThan(numRuns * 2)
  expect(written).toBeGreaterThan(numRuns / 5)
})

test('hostile settings', async () => {
  const file = join(scratch, 'pvenat.conf')
  await fc.assert(
    fc.asyncProperty(hostileSettings, hostileTree, async (text, tree) => {
      writeFileSync(file, text, 'latin1')
      const before = new Map([[file, '[nat]\nguest-ports = 20000-20999\n']])
      const { settings, diagnostics, texts } = await readSettings([file], before)
      expectPlaces(
        diagnostics,
        new Map([...texts].map(([path, said]) => [path, Buffer.from(said).toString('latin1')])),
      )
      const result = run({ ...tree, settings })
      expect(strangeLines(result.input)).toEqual([])
      expect(result.input.toLowerCase()).not.toContain(MARKER.toLowerCase())
    }),
    { numRuns: Math.ceil(numRuns / 10) },
  )
})

test('a hostile .vmlist is either believed or unreadable', async () => {
  const dir = join(scratch, 'pve')
  await mkdir(join(dir, 'nodes/pve1/lxc'), { recursive: true })
  await symlink('nodes/pve1', join(dir, 'local'))
  await writeFile(join(dir, 'nodes/pve1/lxc/105.conf'), 'hostname: x\n')
  const guest = fc.oneof(
    fc.jsonValue(),
    fc.record({
      node: fc.constantFrom<unknown>('pve1', 'pve2', 1, null),
      type: fc.constantFrom<unknown>('lxc', 'qemu', 'x', null),
    }),
  )
  const ids = fc.dictionary(fc.constantFrom('105', '__proto__', '1', '99999999999', 'x', '106'), guest)
  const list = fc.oneof(
    fc.json(),
    fc.string(),
    ids.map((one) => JSON.stringify({ version: 1, ids: one })),
  )
  await fc.assert(
    fc.asyncProperty(list, async (text) => {
      await writeFile(join(dir, '.vmlist'), text)
      const tree = await readPve(dir, 'pve1')
        .then((files) => treeOf(files, dir, 'pve1'))
        .catch((error: unknown) => error)
      if (tree instanceof Error && !(tree instanceof Unreadable)) throw tree
    }),
    { numRuns: Math.ceil(numRuns / 10) },
  )
})
