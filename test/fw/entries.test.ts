/** Aliases and ipsets: their lines, and what references to them find. */
import { describe, expect, test } from 'vitest'
import { fileToJson } from '../../src/fw/json.ts'
import { readFw } from '../../src/fw/read.ts'
import { read, withCluster } from './context.ts'

describe('aliases', () => {
  test('the name may be anything, its key is in lower case; /32 and /128 go', () => {
    const file = read(
      'vm',
      '[ALIASES]',
      'Web 10.0.0.5/32 # B\xc3\xbcro',
      'x!y\t2001:DB8::1/128',
      'net 10.1.2.3/8 #',
      'all 10.0.0.5/0',
      'long 1.2.3.4/33',
      'six fd00:1:2:3:4:5:6::',
      '__proto__ ::1',
    )
    expect(file.skipped).toEqual([])
    expect(fileToJson(file)['aliases']).toEqual(
      Object.fromEntries([
        ['web', { name: 'Web', cidr: '10.0.0.5', comment: 'B\u00fcro' }],
        ['x!y', { name: 'x!y', cidr: '2001:DB8::1' }],
        ['net', { name: 'net', cidr: '10.1.2.3/8' }],
        ['all', { name: 'all', cidr: '10.0.0.5/0' }],
        ['long', { name: 'long', cidr: '1.2.3.4/33' }],
        ['six', { name: 'six', cidr: 'fd00:1:2:3:4:5:6::' }],
        ['__proto__', { name: '__proto__', cidr: '::1' }],
      ]),
    )
    expect(file.aliases.get('x!y')?.ipversion).toBe(6)
  })

  test.each([
    'web  10.0.0.1', 'web 10.0.0.1 x', 'web', 'web 10.0.0.1\r', 'web 10.0.0.1-10.0.0.9', 'web 010.0.0.1', 'web 10/8',
    'web 10.0.0.1/', 'web 1.2.3.4/3x', 'web ::a1.2.3.4', 'web ::g', 'web 1:2:3', 'web ::1.2', 'web +ab',
  ])('%j is skipped', (line) => {
    const file = read('vm', '[ALIASES]', line)
    expect(file.aliases.size).toBe(0)
    expect(file.skipped).toHaveLength(1)
  }) // prettier-ignore

  test('an alias counts below its definition only, and the last one of a name wins', () => {
    const file = read(
      'vm',
      '[RULES]',
      'IN ACCEPT -source late',
      '[ALIASES]',
      'late 10.0.0.1',
      'LATE ::1',
      '[RULES]',
      'IN ACCEPT -source Late',
    )
    expect(file.rules[0]?.errors).toEqual({ source: "no such alias 'late'" })
    expect(file.rules[1]?.errors).toBeUndefined()
    expect(file.rules[1]?.ipversion).toBe(6)
  })

  test('the own alias goes before the cluster\u2019s, dc/ goes past it', () => {
    const file = read(
      'vm',
      '[ALIASES]',
      'web ::1',
      '[RULES]',
      'IN ACCEPT -source web',
      'IN ACCEPT -source dc/web',
      'IN ACCEPT -source guest/web',
    )
    expect(file.rules.map(({ ipversion }) => ipversion)).toEqual([6, 4, 6])
  })

  test('an alias of the other family drops the whole line', () => {
    const file = read(
      'vm',
      '[RULES]',
      'IN ACCEPT -source 10.0.0.1 -dest v6net',
      'IN ACCEPT -p icmp -source v6net',
    )
    expect(file.rules).toEqual([])
    expect(file.skipped.map(({ reason }) => reason)).toEqual(
      Array(2).fill('detected mixed ipv4/ipv6 addresses in rule'),
    )
  })
})

describe('ipsets', () => {
  function entries(...lines: string[]): unknown {
    const file = read('vm', '[ALIASES]', 'all 0.0.0.0/0', '[IPSET ab]', ...lines)
    return (fileToJson(file)['ipset'] as Record<string, unknown>)['ab']
  }

  test('addresses, networks, aliases, nomatch, comments', () => {
    expect(
      entries(
        '10.0.0.1/32 # one',
        '! 10.0.0.0/8',
        '!::1',
        'dc/web#w',
        'Web',
        '10.0.0.5/24 # 0',
        '10.0.0.0/33',
        'fd00:1:2:3:4:5:6::',
      ),
    ).toEqual([
      { cidr: '10.0.0.1', comment: 'one' },
      { cidr: '10.0.0.0/8', nomatch: 1 },
      { cidr: '::1', nomatch: 1 },
      { cidr: 'dc/web', comment: 'w' },
      { cidr: 'Web' },
      { cidr: '10.0.0.5/24' },
      { cidr: '10.0.0.0/33' },
      { cidr: 'fd00:1:2:3:4:5:6::' },
    ])
  })

  const BAD = 'value does not look like a valid IP address or CIDR network'
  const ZERO = 'a zero prefix is not allowed in ipset entries'
  test.each([
    ['10.0.0.1-10.0.0.2', '10.0.0.1-10.0.0.2', BAD],
    ['10.0.0.1 x', '10.0.0.1 x', BAD],
    ['!', '!', BAD],
    ['+ab', '+ab', BAD],
    ['0.0.0.0/0', '0.0.0.0/0', ZERO],
    ['::/00', '::/00', ZERO],
    ['all', 'all', ZERO],
    ['guest/web', 'guest/web', "no such alias 'web'"],
    ['nosuch', 'nosuch', "no such alias 'nosuch'"],
  ])('%s is kept with an error', (line, cidr, error) => {
    expect(entries(line)).toEqual([{ cidr, errors: { cidr: error } }])
  })

  test('a duplicate is an error, after normalisation', () => {
    expect(entries('10.0.0.1', '10.0.0.1/32')).toEqual([
      { cidr: '10.0.0.1' },
      { cidr: '10.0.0.1', errors: { cidr: "duplicate ipset entry for '10.0.0.1'" } },
    ])
    expect(entries('web', 'dc/web', 'web')).toMatchObject([{}, {}, { errors: {} }])
  })

  test('a set counts from its header on, sdn sets always', () => {
    const file = read(
      'vm',
      '[RULES]',
      'IN ACCEPT -source +ab',
      '[IPSET ab]',
      '[RULES]',
      'IN ACCEPT -source +ab',
    )
    expect(file.rules.map(({ errors }) => errors?.source)).toEqual(["no such ipset 'ab'", undefined])
    const sdn = readFw('[RULES]\nIN ACCEPT -source +sdn/v0-all', 'host', {
      ...withCluster,
      sdnSets: new Set(['v0-all']),
    })
    expect(sdn.rules[0]?.errors).toBeUndefined()
  })
})
