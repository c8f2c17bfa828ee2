// The tables of rules in README and docs/comment.md: each rule, alone in the file that its row names, is in force and nothing is said against it.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { caseOf } from '../cases/case.ts'
import { showDiagnostics } from '../cases/show.ts'
import { worldOf } from '../cases/world.ts'

const NETWORK = `
external vmbr0 203.0.113.2/24 203.0.113.7/24 203.0.113.8/24 2001:db8:113::2/64 2001:db8:113::7/64
external vmbr3 198.51.100.2/24
internal vmbr1 10.10.10.1/24 fd10::1/64
internal vmbr2 192.168.100.1/24 193.16.100.1/24
`
const rows = ['README.md', 'docs/comment.md'].flatMap((path) => [
  ...readFileSync(path, 'utf8').matchAll(/^\| `((?:IN|OUT) .*?)` +\| (\S+)? *\|/gm),
])

test.each(rows.map(([, rule = '', file = 'firewall/108.fw']) => [rule, file]))('%s', async (rule, file) => {
  const path = file === 'host.fw' ? 'nodes/pve1/host.fw' : `firewall/${file.replace('firewall/', '')}`
  const files = new Map([['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n[ALIASES]\nlan 10.10.10.0/24\n']])
  files.set(path, `${files.get(path) ?? '[OPTIONS]\nenable: 1\n'}[RULES]\n${rule}\n`)
  files.set('pvenat.conf', '[guest 108]\nsnat = yes\n')
  const one = { ...caseOf(files), network: NETWORK }
  const { look, sources } = await worldOf(one)
  const { translation } = compile(look)
  expect(showDiagnostics(translation.diagnostics, sources)).toBe('')
  expect(translation.rules.map(({ state }) => state)).toEqual(['active'])
})

test('every word of the grammar is shown', () => {
  const text = rows.map(([, rule]) => rule).join('\n')
  const words = [
    'NAT:',
    ' - ',
    'none',
    'if=',
    'to=',
    'full=1',
    'snat=1',
    'hairpin=0',
    '[2001:',
    '203.0.113.7:',
    '/28 full=1 to=',
  ]
  expect(words.filter((word) => !text.includes(word))).toEqual([])
})
