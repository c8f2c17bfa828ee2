// The one screen: bounded whatever is wrong, and honest about what nobody may know.
import { expect, test } from 'vitest'
import type { Located } from '../../src/show/diagnostics.ts'
import {
  NO_REPAIRS,
  renderStatus,
  toStatus,
  UNKNOWN_NODE,
  type Status,
  type NodeStatus,
  type ServiceStatus,
} from '../../src/show/status.ts'
import { exitCodeOf, verdictLine, type Level, type Seen } from '../../src/show/verdict.ts'

const service: ServiceStatus = {
  inStep: true,
  backend: 'legacy',
  lastApply: null,
  lastError: null,
  degraded: null,
  since: null,
  pid: 7,
  startedAt: null,
  updatedAt: '',
  applyMs: null,
  lockMs: null,
  applies: 1,
  repairs: NO_REPAIRS,
}

const SEEN: Seen = { isRunning: true, isCompared: true }

function statusOf(part: Partial<ServiceStatus> = {}, look: Partial<NodeStatus> = {}, seen = SEEN): Status {
  return toStatus('pve1', { ...UNKNOWN_NODE, ...look }, { ...service, ...part }, seen)
}

function failing(failing: number, asked: number): Pick<NodeStatus, 'rules'> {
  const first = Array.from({ length: Math.min(failing, 3) }, (_, i) => `105.fw:${i + 1}: why`)
  return { rules: { asked, failing, dead: 0, first } }
}

function problems(count: number, severity: Located['severity']): NodeStatus['diagnostics'] {
  return Array.from({ length: count }, (_, line) => ({
    file: '/etc/pve/firewall/105.fw',
    line,
    column: 1,
    endColumn: 2,
    severity,
    code: 'x',
    message: `${severity} ${line}`,
    help: 'do this',
    proposals: [],
    text: '',
  }))
}

test.each<[string, Status, Level, string[]]>([
  ['nothing to say', statusOf(), 'OK', []],
  ['all rules work', statusOf({}, failing(0, 9)), 'OK', []],
  [
    'some rules do not work',
    statusOf({}, failing(5, 9)),
    'WARNING',
    [
      '5 of 9 NAT rules do not work',
      '105.fw:1: why',
      '105.fw:2: why',
      '105.fw:3: why',
      'and 2 more: pvenat check',
    ],
  ],
  [
    'a rule in force lets nothing through',
    statusOf({}, { rules: { asked: 1, failing: 0, dead: 1, first: ['105.fw:1: why'] } }),
    'WARNING',
    ['1 of 1 NAT rules does not work', '105.fw:1: why'],
  ],
  [
    'no rule works',
    statusOf({}, failing(1, 1)),
    'CRITICAL',
    ['no NAT rule is in force', '1 of 1 NAT rules does not work', '105.fw:1: why'],
  ],
  [
    'not in sync',
    statusOf({ inStep: false }),
    'CRITICAL',
    ['the kernel does not hold what the rules ask for: pvenat plan'],
  ],
  [
    'nothing can be read',
    statusOf({ inStep: false, degraded: '/etc/pve is not mounted' }),
    'CRITICAL',
    ['/etc/pve is not mounted'],
  ],
  [
    'one file cannot be read',
    statusOf({ degraded: 'cannot read 105.fw' }),
    'WARNING',
    ['cannot read 105.fw'],
  ],
  [
    'the service is down',
    statusOf({}, failing(1, 9), { ...SEEN, isRunning: false }),
    'CRITICAL',
    ['the service does not run: systemctl start pvenat', '1 of 9 NAT rules does not work', '105.fw:1: why'],
  ],
  [
    'a user may not know',
    statusOf({ inStep: false }, {}, { isRunning: undefined, isCompared: false }),
    'WARNING',
    [
      'only root can see whether the service runs',
      'it is not known whether the kernel is in sync with the rules',
    ],
  ],
])('%s', (_, status, level, reasons) => {
  expect(status).toMatchObject({ level, reasons })
  expect(exitCodeOf(status.level)).toBe(['OK', 'WARNING', 'CRITICAL'].indexOf(level))
  expect(renderStatus(status, SEEN, false)).toMatch(new RegExp(`^pvenat .* on pve1: ${level}\n`))
  for (const reason of reasons) expect(renderStatus(status, SEEN, false)).toContain(reason)
  expect(verdictLine(status)).toBe([level, reasons.join('; ')].filter((text) => text !== '').join(': '))
})

test('a screen holds it, errors first, however many problems, addresses and networks there are', () => {
  const external = Array.from({ length: 50 }, (_, i) => ({
    interface: `vmbr${i}`,
    addresses: ['203.0.113.2'],
  }))
  const internal = external.map((one) => ({ ...one, network: '10.0.0.0/24', address: '10.0.0.1' }))
  const diagnostics = [...problems(500, 'warning'), ...problems(2, 'error')]
  const lines = renderStatus(statusOf({}, { external, internal, diagnostics }), SEEN, false).split('\n')
  expect(lines.length).toBeLessThan(50)
  expect(lines.findIndex((line) => line.includes('error 0'))).toBeLessThan(
    lines.findIndex((line) => line.includes('warning 0')),
  )
  expect(lines.filter((line) => line.endsWith('and 42 more'))).toHaveLength(2)
  expect(lines.at(-2)).toBe('and 494 more; all of them: pvenat check')
})

test('what nobody may know is not claimed', () => {
  const seen = { isRunning: undefined, isCompared: false }
  const text = renderStatus(statusOf({ inStep: false }, {}, seen), seen, false)
  expect(text).toContain('not known; ask as root')
  expect(text).toContain('not known whether it is in sync')
  expect(text).not.toMatch(/systemctl start|does not run/)
})

test('the keys stand in their order, additions at the end', () => {
  expect(Object.keys(statusOf())).toEqual([
    'inStep',
    'firewall',
    'backend',
    'lastApply',
    'lastError',
    'degraded',
    'external',
    'internal',
    'counts',
    'diagnostics',
    'since',
    'node',
    'version',
    'pid',
    'startedAt',
    'updatedAt',
    'applyMs',
    'lockMs',
    'applies',
    'repairs',
    'rules',
    'level',
    'reasons',
    'uplinks',
    'troubles',
  ])
})
