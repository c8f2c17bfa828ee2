// The one screen: bounded whatever is wrong, and honest about what nobody may know.
import { expect, test } from 'vitest'
import type { Located } from '../../src/show/diagnostics.ts'
import {
  isWell,
  NO_REPAIRS,
  renderStatus,
  toStatus,
  UNKNOWN_NODE,
  type Known,
  type NodeStatus,
  type ServiceStatus,
} from '../../src/show/status.ts'

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

function knownOf(
  part: Partial<ServiceStatus> = {},
  look: Partial<NodeStatus> = {},
  rest: Partial<Known> = {},
): Known {
  const status = toStatus('pve1', { ...UNKNOWN_NODE, ...look }, { ...service, ...part })
  return { status, isRunning: true, isCompared: true, ...rest }
}

function problems(count: number, severity: Located['severity']): NodeStatus['diagnostics'] {
  return Array.from({ length: count }, (_, line) => ({
    file: '/etc/pve/firewall/105.fw',
    line,
    column: 0,
    endColumn: 1,
    severity,
    code: 'x',
    message: `${severity} ${line}`,
    help: 'do this',
    text: '',
  }))
}

test('well is: the service runs, in step, nothing keeps it from its work; wrong rules are no reason', () => {
  expect(isWell(knownOf({}, { diagnostics: problems(3, 'error') }))).toBe(true)
  expect(isWell(knownOf({ inStep: false }))).toBe(false)
  expect(isWell(knownOf({ degraded: '/etc/pve is not mounted' }))).toBe(false)
  expect(isWell(knownOf({}, {}, { isRunning: false }))).toBe(false)
  expect(isWell(knownOf({}, {}, { isRunning: undefined }))).toBe(false)
})

test('a screen holds it, errors first, however many problems, addresses and networks there are', () => {
  const external = Array.from({ length: 50 }, (_, i) => ({
    interface: `vmbr${i}`,
    addresses: ['203.0.113.2'],
  }))
  const internal = external.map((one) => ({ ...one, network: '10.0.0.0/24', address: '10.0.0.1' }))
  const diagnostics = [...problems(500, 'warning'), ...problems(2, 'error')]
  const lines = renderStatus(knownOf({}, { external, internal, diagnostics }), false).split('\n')
  expect(lines.length).toBeLessThan(50)
  expect(lines.findIndex((line) => line.includes('error 0'))).toBeLessThan(
    lines.findIndex((line) => line.includes('warning 0')),
  )
  expect(lines.filter((line) => line.endsWith('and 42 more'))).toHaveLength(2)
  expect(lines.at(-2)).toBe('and 494 more; all of them: pvenat check')
})

test('what nobody may know is not claimed', () => {
  const text = renderStatus(
    knownOf({ inStep: false }, {}, { isRunning: undefined, isCompared: false }),
    false,
  )
  expect(text).toContain('not known; ask as root')
  expect(text).toContain('not known whether in step')
  expect(text).not.toMatch(/systemctl start|does not run/)
})

test('the keys stand in their order, additions at the end', () => {
  expect(Object.keys(knownOf().status)).toEqual([
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
  ])
})
