/** Rule lines beyond the recorded ones, and where their parts stand. */
import { describe, expect, test } from 'vitest'
import { fileToJson } from '../../src/fw/json.ts'
import type { Span } from '../../src/fw/fw-file.ts'
import { read } from './context.ts'

function cut(lines: string[], { line, from, to }: Span): string {
  return (lines[line - 1] ?? '').slice(from, to)
}

describe('rules', () => {
  test('fields that say 0 are false to Perl and never looked at', () => {
    const file = read(
      'vm',
      '[RULES]',
      'IN ACCEPT -p 0 -dport 0 -source 0 -i 0 -icmp-type 0',
      '0 0',
      'GROUP 0',
    )
    expect(file.rules[0]).toMatchObject({ proto: '0', dport: '0', source: '0' })
    expect(file.rules.map(({ errors }) => errors)).toEqual([
      undefined,
      { type: 'missing property', action: 'missing property' },
      { action: 'missing property' },
    ])
  })

  test.each([
    ['IN ACCEPT -log info-p tcp', { log: 'info', proto: 'tcp' }],
    ['IN ACCEPT -i net0\t \t-p tcp', { iface: 'net0', proto: 'tcp' }],
    ['IN ACCEPT -source 10.0.0.1\xa0 # x', { source: '10.0.0.1\xa0' }],
    ['FORWARD SSH(ACCEPT)', { macro: 'SSH', action: 'ACCEPT' }],
    ['IN ACCEPT # \xef\xbb\xbfNAT', { comment: '\ufeffNAT' }],
    ['IN ACCEPT -p icmp -sport echo-request', { errors: { sport: "invalid port 'echo-request'" } }],
    [
      'IN DHCPv6(ACCEPT) -p tcp',
      { errors: { proto: "parameter 'proto' already define in macro (value = 'udp')" } },
    ],
    ['IN ACCEPT -i Net0.5', { iface: 'Net0.5', enable: 1 }],
    ['IN ACCEPT -i eth-0', { errors: { iface: "invalid network interface name 'eth-0'" } }],
    ['GROUP SSH(ACCEPT)', { action: 'SSH(ACCEPT)' }],
    ['IN (ACCEPT)', { action: '(ACCEPT)' }],
    ['\xcdN ACCEPT', { type: '\xcdn' }],
    ['IN\u000bACCEPT\u000c-p tcp', { proto: 'tcp' }],
  ])('%j', (line, fields) => {
    expect(read('cluster', '[RULES]', line).rules[0]).toMatchObject(fields)
  })

  test.each([
    'IN ACCEPT -p #tcp',
    'IN ACCEPT -log in#fo',
    'IN #ACCEPT',
    '|',
    '|#',
    'GROUP ab -log info',
    'IN ACCEPT -P tcp',
  ])('%s is skipped', (line) => {
    expect(read('cluster', '[RULES]', line)).toMatchObject({ rules: [], skipped: [{}] })
  })

  test('spans point at the values in the untrimmed line', () => {
    const lines = [
      '[RULES]',
      ' \t|in sSh(DROP)  -i net1 -source 10.0.0.1 -p tcp -log info --dport 22 #  NAT 1 \xe2\x82\xac \t',
      'IN x',
    ]
    const file = read('vm', ...lines)
    const [rule, second] = file.rules
    const values = Object.entries(rule?.spans ?? {}).map(([field, span]) => [field, cut(lines, span)])
    expect(Object.fromEntries(values)).toEqual({
      type: 'in', macro: 'sSh', action: 'DROP', iface: 'net1', source: '10.0.0.1', proto: 'tcp', log: 'info', dport: '22',
      comment: 'NAT 1 \xe2\x82\xac',
    }) // prettier-ignore
    expect(rule).toMatchObject({ macro: 'SSH', comment: 'NAT 1 \u20ac', enable: 0 })
    expect(rule?.span).toEqual({ line: 2, from: 2, to: (lines[1]?.length ?? 0) - 2 })
    expect(second?.span).toEqual({ line: 3, from: 0, to: 4 })
  })

  test('spans of entries and aliases are their trimmed lines', () => {
    const lines = ['[ALIASES]', '  a1 ::1 # x ', '[IPSET ab]', '\t!::2']
    const file = read('vm', ...lines)
    expect(cut(lines, file.aliases.get('a1')?.span ?? { line: 1, from: 0, to: 0 })).toBe('a1 ::1 # x')
    expect(file.ipset.get('ab')?.entries.map(({ span }) => cut(lines, span))).toEqual(['!::2'])
  })

  test('the keys of a rule come in the order of the format', () => {
    const line =
      'IN ACCEPT -icmp-type any -log info -sport 2 -dport 1 -p icmp -dest ::1 -source 10.0.0.1 -i x # c'
    const [rule] = fileToJson(read('vm', '[RULES]', line))['rules'] as object[]
    expect(Object.keys(rule ?? {})).toEqual([
      'type', 'action', 'iface', 'source', 'dest', 'proto', 'dport', 'sport', 'log', 'icmp-type', 'enable', 'comment',
      'errors', 'ipversion',
    ]) // prettier-ignore
  })
})
