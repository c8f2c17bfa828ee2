// The journal: each event in one line that the GUI's System Log can show, once, however much happens at once.
import { beforeEach, expect, test } from 'vitest'
import type { Applied } from '../../src/node/apply.ts'
import type { Change } from '../../src/ruleset/change.ts'
import { EMPTY_PLAN, type Plan } from '../../src/ruleset/plan.ts'
import { diffRows } from '../../src/show/changes.ts'
import type { Located } from '../../src/show/diagnostics.ts'
import type { Row } from '../../src/show/list.ts'
import { makeRepairBackoff } from '../../src/service/repair-backoff.ts'
import { HOURLY_LINES } from '../../src/service/allowance.ts'
import { makeJournal } from '../../src/service/journal.ts'
import { makeMessages, type Messages } from '../../src/service/messages.ts'

let said: string[]
let messages: Messages
let nowMs = 0
beforeEach(() => {
  nowMs = 0
  said = []
  const journal = makeJournal((text) => said.push(...text.trimEnd().split('\n')), true)
  messages = makeMessages(
    journal,
    makeRepairBackoff(() => 0),
    () => 'legacy',
    () => nowMs,
  )
})

const chain = (name: string): Change => ({
  kind: 'replace',
  what: `chain PVENAT-${name}`,
  family: 4,
  removed: [],
  added: [],
})

function appliedOf(changes: Change[]): Applied {
  const plan: Plan = { ...EMPTY_PLAN, tables: { 4: '*nat', 6: '' }, changes }
  return { plan, sysctls: [] } as unknown as Applied
}

function forward(port: number, part: Partial<Row> = {}): Row {
  return {
    id: `105-${port}`,
    kind: 'forward',
    state: 'active',
    reason: '',
    guest: { vmid: 105, name: 'web' },
    proto: ['tcp'],
    external: { addresses: 'any', ports: [[port, port]], interface: null },
    inner: { address: '10.10.10.105', ports: [[22, 22]] },
    source: '',
    family: [4],
    packets: 0,
    bytes: 0,
    given: false,
    uplinks: [],
    file: '/etc/pve/firewall/105.fw',
    line: 7,
    comment: '',
    ...part,
  }
}

function problem(line: number, part: Partial<Located> = {}): Located {
  return {
    file: '/etc/pve/firewall/105.fw',
    line,
    column: 1,
    endColumn: 2,
    severity: 'error',
    code: 'port-reserved',
    message: `port 22 of line ${line}`,
    help: 'pick another',
    proposals: [],
    ...part,
  }
}

test('what changed, for which guest, by which rule', () => {
  const moved = { inner: { address: '10.10.10.106', ports: [[22, 22]] as [number, number][] } }
  const before = [forward(2222), forward(3333)]
  const after = [forward(2222, moved), forward(4444, { guest: { vmid: 105, name: 'w\n<3>\u001b[2Jb' } })]
  messages.applied(
    appliedOf([chain('DNAT')]),
    diffRows(before, after.slice(0, 1).concat(after[1]!, forward(3333))),
    false,
    12.3,
  )
  expect(said).toEqual([
    '<6>in force: 1 rule added, 1 moved (replace chain PVENAT-DNAT) in 12 ms',
    '<6>forward moved: :2222/tcp -> 105 (web) 10.10.10.106:22, before :2222/tcp -> 105 (web) 10.10.10.105:22, by 105.fw:7',
    '<6>forward added: :4444/tcp -> 105 (w\ufffd<3>\ufffd[2Jb) 10.10.10.105:22, by 105.fw:7',
  ])
})

test('a thousand at once are the first few and counts', () => {
  const rows = Array.from({ length: 1000 }, (_, i) => forward(2000 + i))
  const chains = Array.from({ length: 50 }, (_, i) => chain(String(i)))
  messages.applied(appliedOf(chains), diffRows([], rows), false, 40)
  expect(said).toHaveLength(12)
  expect(said[0]).toMatch(/^<6>in force: 1000 rules added \(replace chain PVENAT-0, .*, 40 more\) in 40 ms$/)
  expect(said.at(-1)).toBe('<6>and 990 more rules: pvenat list')
})

test('diagnostics: once when they come, once when they are gone, silent when lines move', () => {
  messages.passed([problem(7), problem(9, { severity: 'warning', help: undefined })], [])
  messages.passed([problem(8, { message: 'port 22 of line 7' }), problem(9, { severity: 'warning' })], [])
  messages.passed([], [])
  expect(said).toEqual([
    '<3>/etc/pve/firewall/105.fw:7: error[port-reserved]: port 22 of line 7 (pick another)',
    '<4>/etc/pve/firewall/105.fw:9: warning[port-reserved]: port 22 of line 9',
    '<6>/etc/pve/firewall/105.fw:8: mended[port-reserved]: port 22 of line 7',
    '<6>/etc/pve/firewall/105.fw:9: mended[port-reserved]: port 22 of line 9',
  ])
})

test('three thousand errors do not drown the log', () => {
  messages.passed(
    Array.from({ length: 3000 }, (_, i) => problem(i)),
    [],
  )
  messages.passed([], [])
  expect(said).toHaveLength(42)
  expect(said[20]).toBe('<4>and 2980 more to look at: pvenat check')
  expect(said.at(-1)).toBe('<6>and 2980 more are mended')
})

test('a trouble is told once, each of its lines with a priority, and its end', () => {
  for (let i = 0; i < 3; i++) messages.failed(new Error('cannot read\n/etc/pve\u0007'))
  messages.passed([], [{ file: 'firewall/105.fw', reason: 'cannot read 105.fw' }])
  messages.passed([], [])
  expect(said).toEqual([
    '<3>cannot read',
    '<3>  /etc/pve\ufffd',
    '<6>in sync again, after: cannot read',
    '<6>  /etc/pve\ufffd',
    '<3>cannot read 105.fw; what it said before stays in force',
    '<6>firewall/105.fw can be read again',
  ])
})

test('a guest whose rules change ten times a second for an hour cannot fill the journal; other guests are heard', () => {
  for (let second = 0; second < 3600; second++) {
    nowMs = second * 1000
    for (let i = 0; i < 10; i++) {
      const [before, after] = [forward(2000 + i), forward(2001 + i, { id: '105-new' })]
      messages.applied(appliedOf([chain('DNAT')]), diffRows([before], [after]), false, 1)
      messages.passed([problem(i, { message: `of edit ${second} ${i}` })], [])
    }
  }
  expect(said).toHaveLength(HOURLY_LINES.journal.guest)
  expect(said.at(-1)).toBe(
    '<4>too many lines about guest 105: no more in this hour; pvenat check and pvenat list tell',
  )
  messages.passed([problem(1, { file: '/etc/pve/firewall/106.fw' })], [])
  expect(said.at(-1)).toMatch(/106\.fw:1: error/)
  nowMs = 3_600_000
  messages.passed([problem(1), problem(1, { file: '/etc/pve/firewall/106.fw' })], [])
  expect(said.at(-1)).toMatch(/105\.fw:1: error/)
})
