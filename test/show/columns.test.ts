// Nothing that a user types moves a caret or a column: wide, combining and invisible characters, tabs, and very long lines.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/diagnostic.ts'
import { columnsOf, cut, head, pad, tail, wrap, wrapProse } from '../../src/show/columns.ts'
import { plain, renderDiagnostic, renderDiagnostics, type Located } from '../../src/show/diagnostics.ts'
import { renderMisses, renderTable } from '../../src/show/table.ts'
import { row } from './row.ts'

const HOSTILE = fc.string({
  unit: fc.constantFrom(
    'a',
    'Z',
    ' ',
    '\t',
    'é',
    'e\u0301',
    '店',
    '👩‍👩‍👧',
    '🇩🇪',
    '\u200b',
    '\u202e',
    '\u001b[2J',
    '\u0000',
  ),
})

/** As the file holds it: bytes. */
function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

function located(text: string, word: string, file = '/etc/pve/firewall/107.fw'): Located {
  const column = text.indexOf(word) + 1
  return {
    file,
    line: 1,
    column,
    endColumn: column + word.length,
    severity: 'error',
    code: 'port-reserved',
    message: 'port 8006/tcp belongs to this node (pveproxy)',
    help: undefined,
    proposals: [],
  }
}

function caretLines(text: string, word: string): [string, string] {
  const sources = new Map([['firewall/107.fw', latin1(text)]])
  const [, line = '', caret = ''] = renderDiagnostic(located(text, word), sources, '/etc/pve', plain).split(
    '\n',
  )
  return [line.slice(8), caret.slice(8)]
}

describe('carets', () => {
  test.each([
    ['plain', 'IN ACCEPT -p tcp -dport 22 # NAT 8006'],
    ['tabs', 'IN\tACCEPT\t-p tcp # NAT\t8006\tx'],
    ['wide characters', 'IN ACCEPT -i 店店 # NAT 8006 商店'],
    ['combining characters', 'IN ACCEPT -source cafe\u0301 # NAT 8006'],
    ['emoji of many code points', 'IN ACCEPT -source 👩‍👩‍👧🇩🇪 # NAT 8006 👩‍👩‍👧'],
    ['a very long line', `IN ACCEPT -source ${'店'.repeat(3000)} # NAT 8006 ${'x'.repeat(100_000)}`],
  ])('stand under the word: %s', (_, text) => {
    const [line, caret] = caretLines(text, '8006')
    expect(columnsOf(line)).toBeLessThanOrEqual(162)
    expect(line.startsWith('…')).toBe(text.length > 200)
    const before = line.slice(0, line.indexOf('8006'))
    expect(caret).toBe(`${' '.repeat(columnsOf(before))}^^^^`)
  })

  test('are as wide as a wide word, and stay within the window', () => {
    expect(caretLines('NAT 店店 x', '店店')[1]).toBe('    ^^^^')
    const [line, caret] = caretLines(`NAT ${'y'.repeat(1000)}`, 'y'.repeat(1000))
    expect(line.endsWith('y…')).toBe(true)
    expect(caret.length).toBe(line.length - 1)
  })

  test('of whatever is typed stand in one line without control characters', () => {
    fc.assert(
      fc.property(HOSTILE, HOSTILE, (before, after) => {
        const [line, caret] = caretLines(`${before}8006${after}`, '8006')
        expect(`${line}${caret}`).not.toMatch(/[\p{Cc}\u202e]/u)
        expect(caret.trimStart()).toBe('^^^^')
      }),
    )
  })
})

test('thousands of errors are the first of each file, and counts', () => {
  const of = (file: string, count: number) =>
    Array.from({ length: count }, () => located('NAT 8006', '8006', `/etc/pve/firewall/${file}.fw`))
  const all = Array.from({ length: 30 }, (_, i) => of(String(100 + i), 100)).flat()
  const text = renderDiagnostics(all, new Map(), '/etc/pve', plain, 'pvenat check --json')
  expect(text.match(/error\[port-reserved\]/g)).toHaveLength(200)
  expect(text).toContain('/etc/pve/firewall/100.fw: and 80 more\n')
  expect(text).toMatch(/\n3000 errors; 2800 of them are not shown: pvenat check --json\n$/)
  expect(renderDiagnostics(of('100', 1), new Map(), '/etc/pve', plain, 'x')).toMatch(/\n1 error\n$/)
  expect(renderDiagnostics([], new Map(), '/etc/pve', plain, 'x')).toBe('')
})

describe('text in columns', () => {
  test('cut, pad, head and tail agree with what a terminal shows', () => {
    expect([
      cut('商店だ', 5),
      cut('abc', 3),
      cut('abcd', 3),
      pad('店', 4),
      head('店店', 3),
      tail('店店x', 3),
    ]).toEqual(['商店…', 'abc', 'ab…', '店  ', '店', '店x'])
    fc.assert(
      fc.property(HOSTILE, fc.integer({ min: 1, max: 20 }), (text, columns) => {
        expect(columnsOf(cut(text, columns))).toBeLessThanOrEqual(columns)
        expect(text.startsWith(head(text, columns))).toBe(true)
        expect(text.endsWith(tail(text, columns))).toBe(true)
      }),
    )
  })

  test('a reason is broken at its blanks', () => {
    expect(wrap('  107.fw:4: one two three', 13, '    ')).toBe('  107.fw:4:\n    one two\n    three')
  })
})

describe('the table', () => {
  const outgoing = {
    kind: 'egress' as const,
    external: { addresses: 'any' as const, ports: null, interface: null },
  }

  test('has a row for each rule, in columns, and reasons below', () => {
    const rows = [
      row({ packets: 1234, bytes: 74_040 }),
      row({
        guest: { vmid: 109, name: '商店' },
        line: 12,
        state: 'inactive',
        reason: 'the rule is switched off',
      }),
      row({ ...outgoing, guest: null, source: 'dc/lan', file: '/etc/pve/firewall/cluster.fw' }),
    ]
    expect(renderTable(rows, 120).split('\n')).toEqual([
      'STATE     EXTERNAL   INNER            GUEST     SOURCE  WHERE         CONNS  BYTES  COMMENT',
      'active    :8080/tcp  10.10.10.108:80  108 shop  any     108.fw:7       1.2k    72k  NAT 8080',
      'inactive  :8080/tcp  10.10.10.108:80  109 商店  any     108.fw:12         0      0  NAT 8080',
      'active    -          masquerade       -         dc/lan  cluster.fw:7      0      0  NAT 8080',
      '',
      '  108.fw:12: the rule is switched off',
      '',
    ])
  })

  test('shows the comment of a rule that is not understood, also where there is no room for the column', () => {
    const nothing = {
      proto: [],
      external: { addresses: 'any' as const, ports: null, interface: null },
      inner: { address: null, ports: null },
    }
    const rows = [row({ ...nothing, state: 'error', reason: 'no valid endpoint', comment: 'NAT 80o ssh' })]
    expect(renderTable(rows, 120).split('\n')).toEqual([
      'STATE  EXTERNAL  INNER  GUEST     SOURCE  WHERE     CONNS  BYTES  COMMENT',
      'error  -         -      108 shop  any     108.fw:7      0      0  NAT 80o ssh',
      '',
      '  108.fw:7: NAT 80o ssh: no valid endpoint',
      '',
    ])
  })

  test('keeps ports, place and comment at 80 columns; bytes go first, then sources, then connections', () => {
    const busy = { packets: 1234, bytes: 74_040 }
    const titles = (over: Parameters<typeof row>[0]) =>
      renderTable([row({ ...busy, ...over })], 80).split('\n')
    const all = 'STATE   EXTERNAL   INNER            GUEST     SOURCE  WHERE     CONNS  BYTES  COMMENT'
    expect(renderTable([row(busy)], 120).split('\n')[0]).toBe(all)
    const comment = 'NAT 8080 for the shop of somebody'
    const header = (over: Parameters<typeof row>[0]) => titles({ comment, ...over })[0]?.replace(/ +/g, ' ')
    expect(header({})).toBe('STATE EXTERNAL INNER GUEST SOURCE WHERE CONNS COMMENT')
    expect(header({ source: 'dc/office' })).toBe('STATE EXTERNAL INNER GUEST WHERE CONNS COMMENT')
    const external = {
      addresses: ['203.0.113.107'],
      ports: [[15000, 15009]] as [number, number][],
      interface: null,
    }
    expect(header({ external })).toBe('STATE EXTERNAL INNER GUEST WHERE COMMENT')
    const line = titles({ external, comment })[1] ?? ''
    expect(line).toMatch(/^active 203.0.113.107:15000-15009\/tcp 10\.10\.10\.108:80 .* 108.fw:7 NAT 8080/)
    expect(columnsOf(line)).toBeLessThanOrEqual(80)
  })

  test('paints the states', () => {
    const rows = [row(), row({ state: 'partial' }), row({ state: 'error' }), row({ state: 'inactive' })]
    const lines = renderTable(rows, 120, { isColoured: true }).split('\n')
    expect(lines.slice(1, 5).map((line) => line.split(' ')[0])).toEqual([
      '\u001b[32mactive\u001b[0m',
      '\u001b[1;33mpartial\u001b[0m',
      '\u001b[1;31merror\u001b[0m',
      'inactive',
    ])
  })

  test('fits, whatever the names and lists are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(HOSTILE, HOSTILE)),
        fc.integer({ min: 80, max: 200 }),
        (names, columns) => {
          const rows = names.map(([name, source]) =>
            row({ guest: { vmid: 108, name }, source, packets: 12_345_678 }),
          )
          const lines = renderTable(rows, columns).split('\n')
          expect(lines.filter((line) => columnsOf(line) > columns || /[\p{Cc}\u202e]/u.test(line))).toEqual(
            [],
          )
          expect(new Set(lines.slice(1, 1 + rows.length).map(columnsOf)).size).toBeLessThanOrEqual(1)
        },
      ),
    )
  })

  test('of a screen tells how many rows are left out', () => {
    const lines = renderTable([row(), row(), row()], 80, { maxRows: 1 }).split('\n')
    expect(lines).toHaveLength(4)
    expect(lines[1]).toContain('108.fw:7')
    expect(lines[2]).toBe('and 2 more')
  })
})

test('near misses are one line below the list, whatever their number', () => {
  const miss = (line: number) => {
    const place = { file: 'firewall/105.fw', span: { line, from: 0, to: 1 } }
    return diagnose('near-miss', place, { word: 'nat 2223', meant: 'NAT 2223' })
  }
  const place = { file: 'firewall/105.fw', span: { line: 1, from: 0, to: 1 } }
  expect(renderMisses([diagnose('ports-zero', place, {})], Infinity)).toBe('')
  expect(renderMisses([miss(4), miss(7)], Infinity)).toBe(
    'nearly NAT, see pvenat check: 105.fw:4, 105.fw:7\n',
  )
  const many = Array.from({ length: 1000 }, (_, i) => miss(i + 4))
  expect(renderMisses(many, 80)).toBe(
    'nearly NAT, see pvenat check: 105.fw:4, 105.fw:5, 105.fw:6 and 997 more\n',
  )
})

describe('wrapping', () => {
  test('a line goes on below its text; quotes and commands stay whole', () => {
    const text = [
      'error[x]: a sentence that is longer than the terminal is wide',
      '   14 | IN ACCEPT -p tcp -dport 22 # NAT 8006',
      '      |                                  ^^^^',
      '   fix:',
      '     iptables -t nat -D POSTROUTING -s 10.10.10.0/24',
      '   why:  a reason that is as long as that',
      '',
      '  run      the service: keep the kernel in sync',
    ]
    expect(wrapProse(text.join('\n'), 30).split('\n')).toEqual([
      'error[x]: a sentence that is',
      '  longer than the terminal is',
      '  wide',
      ...text.slice(1, 5),
      '   why:  a reason that is as',
      '         long as that',
      '',
      '  run      the service: keep',
      '           the kernel in sync',
    ])
    expect(wrapProse(text.join('\n'), Infinity)).toBe(text.join('\n'))
  })

  test('no text is lost', () => {
    fc.assert(
      fc.property(fc.array(HOSTILE), fc.integer({ min: 1, max: 40 }), (lines, columns) => {
        const text = lines.join('\n')
        expect(wrapProse(text, columns).replace(/\s+/g, '')).toBe(text.replace(/\s+/g, ''))
      }),
    )
  })
})
