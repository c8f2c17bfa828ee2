// docs/hosters.md: with its settings each rule of its table comes to what its row says.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { listRows } from '../../src/show/list.ts'
import { innerCell } from '../../src/show/cells.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { blocksOf } from './commands.ts'

const PAGE = 'docs/hosters.md'
const settings = blocksOf(PAGE).find(({ language }) => language === 'ini')?.text ?? ''
const rows = [...readFileSync(PAGE, 'utf8').matchAll(/^\| `(IN .*?)` \| (.*?) \|$/gm)].map(
  ([, rule = '', result = '']): [string, string] => [rule, result],
)

test.each(rows)('%s: %s', async (rule, result) => {
  const files = new Map([
    ['pvenat.conf', settings],
    ['firewall/105.fw', `[OPTIONS]\nenable: 1\n[RULES]\n${rule}\n`],
  ])
  const outcome = compile((await worldOf(caseOf(files))).look)
  const [row] = listRows(outcome, '/etc/pve')
  const [wanted = ''] = result.split(', because')
  const [port] = row?.external.ports ?? []
  const said = row && port ? `:${port[0]} -> ${innerCell(row).replace('10.10.10.105', '')}` : 'nothing'
  expect(said).toBe(wanted.split(';')[0])
})

test('the table is there', () => expect(rows.length).toBe(4))
