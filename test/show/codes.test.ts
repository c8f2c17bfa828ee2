// Every diagnostic code has a fixture that shows its exact output: a case, or where that would be long, a file of
// fixtures/diagnostics with the first of its kind. `UPDATE=1` writes those anew.
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CODES, type Code, type Diagnostic } from '../../src/diagnostic.ts'
import { readSettings } from '../../src/node/settings.ts'
import { movedPorts } from '../../src/nat/auto.ts'
import { compile } from '../../src/pipeline.ts'
import { caseOf, loadCases } from '../cases/case.ts'
import { showDiagnostics } from '../cases/show.ts'
import { worldOf } from '../cases/world.ts'

const GUEST = '[OPTIONS]\nenable: 1\n[RULES]\n'

interface Said {
  diagnostics: readonly Diagnostic[]
  sources: ReadonlyMap<string, string>
}

/** What is said of a guest with these rules, of which the kernel refuses the first if it has an answer. */
async function saidOf(rules: readonly string[], answer?: string): Promise<Said> {
  const files = new Map([['firewall/105.fw', `${GUEST}${rules.join('\n')}\n`]])
  const { look, sources } = await worldOf(caseOf(files))
  const [first] = compile(look).translation.rules
  const quarantined = new Map(first && answer !== undefined ? [[first.id, answer]] : [])
  return { diagnostics: compile({ ...look, quarantined }).translation.diagnostics, sources }
}

async function settingsOf(file: string, before: string): Promise<Said> {
  const texts = new Map([[file, before]])
  const { diagnostics } = await readSettings([file], texts)
  return { diagnostics, sources: texts }
}

/** What is said of an edit of 105.fw, where guests have blocks of ports. */
async function saidOfEdit(before: readonly string[], after: readonly string[]): Promise<Said> {
  const outcomeOf = async (rules: readonly string[]) => {
    const texts = [
      ['pvenat.conf', '[nat]\nguest-block = 20000-59999/20\n'],
      ['firewall/105.fw', `${GUEST}${rules.join('\n')}\n`],
    ] as const
    const { look, sources } = await worldOf(caseOf(new Map(texts)))
    return { rules: compile(look).translation.rules, sources }
  }
  const now = await outcomeOf(after)
  return { diagnostics: movedPorts((await outcomeOf(before)).rules, now.rules), sources: now.sources }
}

const OWN_FILES: Partial<Record<Code, () => Promise<Said>>> = {
  limit: () => saidOf(Array.from({ length: 251 }, (_, i) => `IN ACCEPT -p tcp -dport 80 # NAT ${2000 + i}`)),
  'told-some': () => saidOf(Array.from({ length: 101 }, () => 'IN SSH(ACCEPT) # NAT 0')),
  quarantined: () => saidOf(['IN SSH(ACCEPT) # NAT 2222'], 'it does not say why'),
  'auto-moved': () => {
    const [web, other] = ['IN ACCEPT -p tcp -dport 80 # NAT auto', 'IN ACCEPT -p tcp -dport 20 # NAT auto']
    return saidOfEdit([web, other], [web])
  },
  'settings-unusable': () => settingsOf('/', '[nat]\n'),
}

test.each(Object.entries(OWN_FILES))('%s', async (code, say) => {
  const { diagnostics, sources } = await say()
  const [first] = diagnostics.filter((one) => one.code === code)
  const text = `${showDiagnostics(first ? [first] : [], sources)}\n`
  const file = `fixtures/diagnostics/${code}.txt`
  if (process.env['UPDATE'] === '1') writeFileSync(file, text)
  expect(text).toBe(readFileSync(file, 'utf8'))
  expect(text).toContain(`[${code}]`)
})

test('no code is without', () => {
  const shown = loadCases()
    .map(({ diagnostics }) => diagnostics)
    .join('\n')
  expect(CODES.filter((code) => !shown.includes(`[${code}]:`) && !(code in OWN_FILES))).toEqual([])
})
