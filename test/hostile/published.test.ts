// What a guest writes is published in a bounded number of bytes: list.json, status.json, and so the page.
import { expect, test } from 'vitest'
import { listRows, renderListJson } from '../../src/show/list.ts'
import { locate } from '../../src/show/diagnostics.ts'
import { nodeStatus } from '../../src/show/status.ts'
import { plainGuest, run } from './node.ts'

const MIB = 2 ** 20
/** For one guest: 250 rules, 200 diagnostics with the line that each points into. */
const MOST = MIB / 2

const on = (rules: string) => `[OPTIONS]\nenable: 1\n[RULES]\n${rules}\n`
const long = 'x'.repeat(MIB)

test.each([
  ['a comment of a megabyte', on(`IN SSH(ACCEPT) # NAT 2222 ${long}`), ''],
  ['a wrong comment of a megabyte', on(`IN SSH(ACCEPT) # NAT 0 ${long}`), ''],
  [
    'a source of a megabyte',
    on(`IN SSH(ACCEPT) -source ${'10.0.0.1,'.repeat(MIB / 9)}10.0.0.2 # NAT 22`),
    '',
  ],
  ['a hundred long comments', on(`IN SSH(ACCEPT) # NAT 22 ${'x'.repeat(9000)}\n`.repeat(110)), ''],
  ['a hostname of a megabyte', on('IN SSH(ACCEPT) # NAT 2222'), `hostname: ${long}\n`],
])('%s', (_, fw, config) => {
  const guest = plainGuest(107, fw)
  const { outcome, sources } = run({
    cluster: '[OPTIONS]\nenable: 1\n',
    host: '',
    guests: [{ ...guest, config: guest.config + config }],
  })
  const rows = renderListJson(listRows(outcome, '/etc/pve'))
  const located = locate(outcome.translation.diagnostics, sources, '/etc/pve')
  const status = JSON.stringify(nodeStatus(outcome, located, sources, '/etc/pve'))
  expect(outcome.translation.rules.length).toBeGreaterThan(0)
  expect(rows.length + status.length).toBeLessThan(MOST)
})
