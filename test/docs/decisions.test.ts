// The man page's table of comments: each row is typed into a rule of guest 105, and comes to what the row says. `UPDATE=1` writes
// the last three columns anew.
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { word } from '../../src/diagnostic.ts'
import { compile } from '../../src/pipeline.ts'
import { formatPorts, type PortRange } from '../../src/ports.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

const PAGE = 'docs/man/pvenat-comments.7.md'
const text = readFileSync(PAGE, 'utf8')
const rows = [...text.matchAll(/^\| `(.+?)` \| (.*?) ?\| (.*?) ?\| (.*?) ?\| (.*?) ?\|$/gm)]
  .filter(([line]) => !/^\| `(?:IN|OUT) /.test(line))
  .map(([line, comment = '', rule = '', ...results]) => ({ line, comment, rule: rule.trim(), results }))

/** `OUT`, or protocol and destination port of an IN rule. */
function ruleOf(rule: string, comment: string): string {
  const [proto, port] = (rule === '' ? 'tcp 80' : rule).split(' ')
  return `${rule === 'OUT' ? 'OUT ACCEPT' : `IN ACCEPT -p ${proto} -dport ${port}`} # ${comment}`
}

/** A forward for each family and protocol has the same ports. */
function portsOf(forwards: readonly { ports?: PortRange }[]): string {
  const ranges = new Map(forwards.flatMap(({ ports }) => (ports ? [[ports.join(), ports] as const] : [])))
  return formatPorts([...ranges.values()])
}

/** What is in force, the codes of what is told, and the first comment that is proposed, as cells. */
async function resultsOf(rule: string, comment: string): Promise<string[]> {
  const bytes = Buffer.from(`[OPTIONS]\nenable: 1\n[RULES]\n${ruleOf(rule, comment)}\n`).toString('latin1')
  const { look } = await worldOf(caseOf(new Map([['firewall/105.fw', bytes]])))
  const { translation } = compile(look)
  const active = translation.rules.filter(({ state }) => state === 'active')
  const kinds = active.map(({ kind, forwards }) => (kind === 'forward' ? `:${portsOf(forwards)}` : kind))
  const told = translation.diagnostics
  const [proposal] = told.flatMap((one) => word(one).proposals)
  const codes = told.map((one) => `${word(one).severity} ${one.code}`)
  return [kinds.join(), codes.join(', '), proposal === undefined ? '' : `\`${proposal}\``]
}

test.each(rows.map((row) => [row.comment, row.rule, row] as const))('%s %s', async (comment, rule, row) => {
  const results = await resultsOf(rule, comment)
  if (process.env['UPDATE'] === '1') {
    const cells = ['', ` \`${comment}\` `, ...[rule, ...results].map((one) => ` ${one} `), '']
    writeFileSync(
      PAGE,
      readFileSync(PAGE, 'utf8').replace(row.line, () => cells.join('|')),
    )
  } else expect(results).toEqual(row.results)
})

test('the table is there', () => {
  expect(rows.length).toBeGreaterThan(60)
})
