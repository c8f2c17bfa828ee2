/** Sections and their headers. */
import { describe, expect, test } from 'vitest'
import type { FwFile } from '../../src/fw/fw-file.ts'
import { readFw, type FileKind } from '../../src/fw/read.ts'
import { etc, read } from './context.ts'

function reasons(file: FwFile): string[] {
  return file.skipped.map(({ reason }) => reason)
}

describe('sections', () => {
  test('headers count in any case, with blanks around them', () => {
    const file = read(
      'vm',
      ' [rUlEs]\t',
      'IN ACCEPT',
      '[IPSET  FooZ-1] # c',
      '10.0.0.1',
      '[ALIASES]',
      'a1 10.0.0.2',
    )
    expect(file.skipped).toEqual([])
    expect(file.rules).toHaveLength(1)
    expect([...file.ipset.keys()]).toEqual(['fooz-1'])
    expect(file.ipset.get('fooz-1')?.comment).toBe('c')
    expect([...file.aliases.keys()]).toEqual(['a1'])
  })

  test('nothing may follow [RULES]; the line becomes content', () => {
    expect(reasons(read('vm', '[RULES] # x', 'IN ACCEPT'))).toEqual(Array(2).fill('skip line - no section'))
    expect(reasons(read('vm', '[RULES]', '[OPTIONS] x'))).toEqual([])
    expect(read('vm', '[RULES]', '[OPTIONS] x').rules[0]?.errors).toEqual({
      type: "invalid rule type '[options]' for rule_env 'vm'",
    })
  })

  test('content above the first header is skipped; blank and comment lines leave no trace', () => {
    const file = read(
      'vm',
      '',
      '# IN ACCEPT',
      '  # x',
      'IN ACCEPT # NAT',
      '\r',
      '[RULES]',
      '#IN ACCEPT',
      'IN ACCEPT',
    )
    expect(file.rules).toHaveLength(1)
    expect(file.skipped).toEqual([
      { span: { line: 4, from: 0, to: 15 }, reason: 'skip line - no section', comment: 'NAT' },
    ])
  })

  test('carriage returns and a byte order mark hide headers', () => {
    expect(reasons(read('vm', '[RULES]\r', 'IN ACCEPT\r'))).toEqual(Array(2).fill('skip line - no section'))
    expect(reasons(read('vm', '\xef\xbb\xbf[RULES]', 'IN ACCEPT'))).toHaveLength(2)
    expect(read('vm', '[RULES]', 'IN ACCEPT -p tcp # x\r').rules[0]).toMatchObject({
      proto: 'tcp',
      comment: 'x',
    })
  })

  test('a missing or a given final newline is the same', () => {
    const { rules } = read('vm', '[RULES]', 'IN ACCEPT')
    expect(read('vm', '[RULES]', 'IN ACCEPT', '').rules).toEqual(rules)
    expect(read('vm')).toEqual(readFw('\n', 'vm', etc))
  })

  test.each<[FileKind, string[]]>([
    ['cluster', ['aliases', 'ipset', 'groups', 'rules']],
    ['vm', ['aliases', 'ipset', 'rules']],
    ['ct', ['aliases', 'ipset', 'rules']],
    ['host', ['rules']],
    ['vnet', ['rules']],
  ])('%s honours its sections only', (kind, filled) => {
    const file = read(
      kind,
      '[OPTIONS]',
      'enable: 1',
      '[RULES]',
      'GROUP ab',
      '[ALIASES]',
      'a1 ::1',
      '[ipset s1]',
      '::1',
      '[group g1]',
      'IN ACCEPT',
    )
    const sizes = {
      aliases: file.aliases.size,
      ipset: file.ipset.size,
      groups: file.groups.size,
      rules: file.rules.length,
    }
    expect(
      Object.entries(sizes)
        .filter(([, size]) => size > 0)
        .map(([name]) => name),
    ).toEqual(filled)
    expect(file.options).toEqual({ enable: 1 })
  })

  test('a header that host.fw does not honour becomes a rule with errors', () => {
    expect(read('host', '[RULES]', '[IPSET foo]', '10.0.0.1').rules[0]).toMatchObject({
      type: '[ipset',
      action: 'foo]',
      errors: { type: "invalid rule type '[ipset' for rule_env 'host'" },
    })
  })

  test.each([
    ['[IPSET a]', "invalid ipset name 'a'"],
    ['[IPSET 1ab]', "invalid ipset name '1ab'"],
    [`[IPSET ${'a'.repeat(65)}]`, 'ipset name too long'],
    ['[group a.b]', "invalid security group name 'a.b'"],
    [`[GROUP ${'a'.repeat(19)}]`, 'security group name too long'],
    ['[group a]#[b]', "invalid security group name 'a]#[b'"],
  ])('a bad name leaves no section: %s', (header, reason) => {
    const file = read('cluster', '[RULES]', header, 'IN ACCEPT', '[RULES]', 'IN DROP')
    expect(reasons(file)).toEqual([reason, 'skip line - no section'])
    expect(file.rules.map(({ action }) => action)).toEqual(['DROP'])
  })

  test.each([
    ['[IPSET ab]#c]d', 'ab', 'c]d'],
    ['[ipset \t ab] \t', 'ab', undefined],
    ['[ipset ab] #  0', 'ab', undefined],
    ['[ipset ab] # \xc3\xa4 ] x', 'ab', '\u00e4 ] x'],
    [`[ipset ${'a'.repeat(64)}]`, 'a'.repeat(64), undefined],
  ])('the name ends at the right bracket: %s', (header, name, comment) => {
    const set = read('cluster', header).ipset.get(name)
    expect(set?.comment).toBe(comment)
    expect(set?.entries).toEqual([])
  })

  test.each(['[ipset ab] c', '[ipset ab ] c', '[ipsetab]', '[ipset ]', '[ipset]'])(
    '%s is no header',
    (line) => {
      expect(reasons(read('cluster', line))).toEqual(['skip line - no section'])
    },
  )

  test('[RULES] again adds, [IPSET x] and [group x] again replace but keep the old comment', () => {
    const file = read(
      'cluster', '[IPSET ab] # old', '10.0.0.1', '[group g1] # g', 'IN ACCEPT', '[RULES]', 'IN ACCEPT',
      '[IPSET AB]', '10.0.0.2', '[group G1] # new', 'IN DROP', '[RULES]', 'IN DROP',
    ) // prettier-ignore
    expect(file.rules.map(({ action }) => action)).toEqual(['ACCEPT', 'DROP'])
    expect(file.ipset.get('ab')?.comment).toBe('old')
    expect(file.ipset.get('ab')?.entries.map(({ cidr }) => cidr)).toEqual(['10.0.0.2'])
    expect(file.groups.get('g1')?.comment).toBe('new')
    expect(file.groups.get('g1')?.rules.map(({ action }) => action)).toEqual(['DROP'])
  })
})
