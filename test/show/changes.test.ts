// What becomes of the rules, in the administrator's terms.
import { expect, test } from 'vitest'
import { describeRow, diffRows, renderRowChanges } from '../../src/show/changes.ts'
import type { Row } from '../../src/show/list.ts'
import { row as plainRow } from './row.ts'

let ids = 0
/** Each is a rule of its own. */
const row = (part: Partial<Row> = {}): Row => plainRow({ id: `108-${ids++}`, ...part })

const moved = { inner: { address: '10.10.10.109', ports: [[80, 80]] as [number, number][] } }

test.each<[string, Row[], Row[], string[]]>([
  ['nothing', [row({ id: 'a' })], [row({ id: 'a', line: 9 })], []],
  ['a rule', [], [row()], ['+ :8080/tcp → 108 (shop) 10.10.10.108:80  (108.fw:7)']],
  ['no rule any more', [row()], [], ['- :8080/tcp → 108 (shop) 10.10.10.108:80  (108.fw:7)']],
  [
    'one that is switched off',
    [row({ id: 'a' })],
    [row({ id: 'a', state: 'inactive' })],
    [expect.stringMatching(/^- /) as string],
  ],
  [
    'the same forward by an edited rule, and lines that move',
    [row({ id: 'a' }), row({ id: 'b', ...moved, line: 8 })],
    [row({ id: 'new', line: 8 }), row({ id: 'b', ...moved, line: 9 })],
    ['~ :8080/tcp → 108 (shop) 10.10.10.108:80  (108.fw:8, its rule was edited)'],
  ],
  [
    'another address behind the same rule',
    [row({ id: 'a' })],
    [row({ id: 'a', ...moved })],
    [
      '~ :8080/tcp → 108 (shop) 10.10.10.109:80  (108.fw:7)',
      '    before: :8080/tcp → 108 (shop) 10.10.10.108:80  (108.fw:7)',
    ],
  ],
])('%s', (_, before, after, lines) => {
  expect(renderRowChanges(diffRows(before, after)).split('\n').slice(0, -1)).toEqual(lines)
})

test('each kind has its words, in one line that can harm no terminal', () => {
  const external = { addresses: 'any' as const, ports: null, interface: 'vmbr0' }
  const all = [
    row({ kind: 'egress', external }),
    row({
      kind: 'egress',
      guest: null,
      source: 'dc/lan',
      external: { ...external, addresses: ['203.0.113.7'] },
    }),
    row({ kind: 'exempt', guest: null, external }),
    row({ kind: 'exempt', external: { ...external, ports: [[5000, 5009]] } }),
    row({ kind: 'block', guest: null, source: '192.168.100.0/24', external }),
    row({ guest: { vmid: 108, name: 'a\nb\u001b[2J' }, source: '+dc/office' }),
  ]
  expect(all.map((one) => describeRow(one, '->'))).toEqual([
    '108 (shop) goes out masqueraded by vmbr0',
    'dc/lan goes out as 203.0.113.7 by vmbr0',
    'every internal network is not translated',
    ':5000-5009/tcp is not forwarded to 108 (shop)',
    'what is forwarded for 192.168.100.0/24 is blocked',
    ':8080/tcp -> 108 (a\ufffdb\ufffd[2J) 10.10.10.108:80 from +dc/office',
  ])
})
