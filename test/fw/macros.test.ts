/** Macros: the whole table, and what a rule becomes. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { canonicalMacro, expandMacro, macroNames } from '../../src/fw/macros.ts'
import type { FwRule } from '../../src/fw/fw-file.ts'
import { read } from './context.ts'

const TABLE = readFileSync(new URL('../../fixtures/macros.tsv', import.meta.url), 'utf8')
const ROWS = TABLE.trimEnd()
  .split('\n')
  .slice(1)
  .map((line) => line.split('\t'))

function rule(line: string): FwRule {
  const [only] = read('vm', '[RULES]', line).rules
  if (only === undefined) throw new Error(`no rule: ${line}`)
  return only
}

describe('the table', () => {
  test.each([4, 6] as const)('is upstream\u2019s for IPv%i', (family) => {
    for (const name of macroNames) {
      const rows = ROWS.filter((row) => row[0] === name && row[1]?.includes(String(family)) === true)
      const expected = rows.map(([, , , proto = '', port = '', sport = '']) => ({
        proto,
        ...(port === '' ? {} : proto.startsWith('icmp') ? { icmpType: port } : { dport: port }),
        ...(sport === '' ? {} : { sport }),
      }))
      expect(expandMacro(rule(`IN ${name}(ACCEPT)`), family), name).toEqual(expected)
    }
  })

  test('has every name once, found in any case', () => {
    expect([...macroNames].sort()).toEqual([...new Set(ROWS.map(([name = '']) => name))].sort())
    expect(canonicalMacro('sSh')).toBe('SSH')
    expect(canonicalMacro('constructor')).toBeUndefined()
  })
})

describe('expansion', () => {
  test('adds the rule\u2019s own protocol and ports to each template', () => {
    expect(
      expandMacro(rule('IN Web(ACCEPT) -source 10.0.0.1 -dest 10.0.0.2 -i net0 -p tcp -sport 5'), 4),
    ).toEqual([
      { proto: 'tcp', dport: '80', sport: '5' },
      { proto: 'tcp', dport: '443', sport: '5' },
    ])
  })

  test('is empty in a family that the rule or the macro does not have', () => {
    expect(expandMacro(rule('IN SSH(ACCEPT) -source 10.0.0.1'), 6)).toEqual([])
    expect(expandMacro(rule('IN DHCPv6(ACCEPT)'), 4)).toEqual([])
    expect(expandMacro(rule('IN NoSuch(ACCEPT)'), 4)).toEqual([])
    expect(expandMacro(rule('IN SSH(ACCEPT) -p udp'), 4)).toEqual([])
  })

  test('leaves a rule without macro as it is', () => {
    expect(expandMacro(rule('IN ACCEPT -p udp -dport 5'), 6)).toEqual([{ proto: 'udp', dport: '5' }])
    expect(expandMacro(rule('IN ACCEPT -p icmp -dport echo-reply'), 4)).toEqual([
      { proto: 'icmp', icmpType: 'echo-reply' },
    ])
    expect(expandMacro(rule('IN ACCEPT -p icmp -icmp-type any'), 4)).toEqual([
      { proto: 'icmp', icmpType: 'any' },
    ])
    expect(expandMacro(rule('IN ACCEPT'), 4)).toEqual([{}])
  })
})
