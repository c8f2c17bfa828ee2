/** Whatever the bytes: no throw, honest spans, linear time. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fileToJson } from '../../src/fw/json.ts'
import { expandMacro } from '../../src/fw/macros.ts'
import type { FwFile, FwRule } from '../../src/fw/fw-file.ts'
import { readFw, type FileKind } from '../../src/fw/read.ts'
import { contextOf, fixture } from './context.ts'

const KINDS: readonly FileKind[] = ['cluster', 'host', 'vm', 'ct', 'vnet']

const RUNS = 3000

const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code))
const bytes = fc.array(byte, { maxLength: 40 }).map((all) => all.join(''))

// prettier-ignore
const piece = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(
    'IN', 'OUT', 'FORWARD', 'GROUP', 'in', '|', 'ACCEPT', 'DROP', 'REJECT', 'SSH(ACCEPT)', 'DNS(DROP)', 'Ping(ACCEPT)', '(ACCEPT)',
    '-i ', '-p ', '--proto ', '-dport ', '--sport ', '-source ', '-dest ', '-log ', '-icmp-type ', 'net0', 'tcp', 'icmp', 'icmpv6',
    '80', '0', '80:90', 'http', '1,2', ',', '10.0.0.1', '10.0.0.0/8', '::1', 'fe80::/10', '-', '/', ':', '+trusted', 'web', 'dc/v6net',
    '+dc/x', 'info', 'echo-request', '#', '# NAT 22', '\xc3\xa0', '\xa0', '\r', '!', '[RULES]', '[IPSET ab]', '[group g1]', ']', '[',
    'enable: 1', 'policy_in: DROP', 'web 10.0.0.9',
  ) },
  { weight: 8, arbitrary: fc.constantFrom(' ', ' ', ' ', '  ', '\t') },
  { weight: 1, arbitrary: bytes },
)

const freeLine = fc.array(piece, { maxLength: 16 }).map((pieces) => pieces.join('').replaceAll('\n', ' '))
const word = fc.constantFrom(
  'tcp',
  'icmp',
  '80',
  '80:90',
  '0',
  '10.0.0.1',
  '::1',
  'web',
  '+trusted',
  'v6net',
  'net0',
  'x,y',
  '10.0.0.1,10.0.0.2',
)
// prettier-ignore
const option = fc.oneof(
  fc.tuple(fc.constantFrom('-i', '-p', '-dport', '--sport', '-source', '--dest', '-icmp-type'), word).map(([key, value]) => `${key} ${value}`),
  fc.constantFrom('-log info', '--log err'),
)
// prettier-ignore
const ruleLine = fc
  .tuple(
    fc.constantFrom('', ' ', '|', '\t|'),
    fc.constantFrom('IN', 'OUT', 'forward', 'GROUP'),
    fc.constantFrom('ACCEPT', 'DROP', 'SSH(ACCEPT)', 'web(REJECT)', 'trcrt(DROP)', 'ab'),
    fc.array(option, { maxLength: 6 }),
    fc.oneof(fc.constant(''), bytes.map((text) => ` # ${text.replaceAll('\n', '')}`)),
  )
  .map(([lead, type, action, options, comment]) => `${lead}${[type, action, ...options].join(' ')}${comment}`)

const line = fc.oneof(freeLine, ruleLine)
const header = fc.constantFrom('[OPTIONS]', '[ALIASES]', '[RULES]', '[IPSET ab]', '[group g1]', '[IPSET x]')
const file = fc.oneof(
  fc
    .array(fc.oneof({ weight: 4, arbitrary: line }, { weight: 1, arbitrary: header }), { maxLength: 30 })
    .map((all) => all.join('\n')),
  fc.array(byte, { maxLength: 400 }).map((all) => all.join('')),
)

function rulesOf({ rules, groups }: FwFile): FwRule[] {
  return [...rules, ...[...groups.values()].flatMap((group) => group.rules)]
}

/** Every field stands where its span says; type and macro up to case, a comment up to its decoding. */
function expectHonestSpans(rule: FwRule, lines: readonly string[]): void {
  const text = lines[rule.span.line - 1] ?? ''
  const fields = ['type', 'action', 'macro', 'iface', 'source', 'dest', 'proto', 'dport', 'sport', 'log', 'icmp-type', 'comment'] as const // prettier-ignore
  for (const field of fields) {
    const span = rule.spans[field]
    const value = rule[field]
    expect(span === undefined, field).toBe(value === undefined)
    if (span === undefined || value === undefined) continue
    expect(span.line).toBe(rule.span.line)
    expect(span.from).toBeGreaterThanOrEqual(rule.span.from)
    expect(span.to).toBeLessThanOrEqual(rule.span.to)
    const slice = text.slice(span.from, span.to)
    if (field === 'comment') expect(value).toBe(Buffer.from(slice, 'latin1').toString('utf8'))
    else if (field === 'type' || field === 'macro') expect(value.toLowerCase()).toBe(slice.toLowerCase())
    else expect(value).toBe(slice)
  }
}

test('lines of all sorts, in every kind of file', () => {
  let kept = 0
  fc.assert(
    fc.property(line, fc.constantFrom(...KINDS), (one, kind) => {
      const above = kind === 'vm' ? `${fixture('100.fw')}[RULES]` : '[RULES]'
      const text = `${above}\n${one}`
      const read = readFw(text, kind, contextOf(kind))
      const lines = text.split('\n')
      for (const rule of rulesOf(read)) {
        kept++
        expectHonestSpans(rule, lines)
        if (rule.errors !== undefined) expect(Object.keys(rule.errors)).not.toHaveLength(0)
        expandMacro(rule, 4)
        expandMacro(rule, 6)
      }
    }),
    { numRuns: RUNS },
  )
  // The generator must reach rules, not only refusals.
  expect(kept).toBeGreaterThan(RUNS / 4)
})

test('whole files of all sorts', () => {
  fc.assert(
    fc.property(file, fc.constantFrom(...KINDS), (text, kind) => {
      const read = readFw(text, kind, contextOf(kind))
      const lines = text.split('\n')
      for (const rule of rulesOf(read)) expectHonestSpans(rule, lines)
      for (const { span } of read.skipped) {
        expect(span.from).toBeLessThan(span.to)
        expect(span.to).toBeLessThanOrEqual((lines[span.line - 1] ?? '').length)
      }
      expect(JSON.parse(JSON.stringify(fileToJson(read)))).toEqual(fileToJson(read))
    }),
    { numRuns: RUNS },
  )
})

const MIB = 2 ** 20

/** What is repeated to one MiB, and what stands before and behind it. */
const LONG: [name: string, before: string, unit: string, behind: string][] = [
  ['one word', '[RULES]\nIN ', 'a', ''],
  ['blanks', '[RULES]\nIN ACCEPT', ' ', 'x'],
  ['A0', '[RULES]\nx', '\xa0', 'x'],
  ['macro', '[RULES]\nIN ', '(ACCEPT)', ''],
  ['options', '[RULES]\nIN ACCEPT ', '-i a ', ''],
  ['leftovers', '[RULES]\nIN ACCEPT ', '-p  ', ''],
  ['hashes', '[RULES]\nIN ACCEPT ', '# ', ''],
  ['bad UTF-8', '[RULES]\nIN ACCEPT #', '\xff', ''],
  ['ports', '[RULES]\nIN ACCEPT -p tcp -dport ', '1,', '1'],
  ['port digits', '[RULES]\nIN ACCEPT -p tcp -dport ', '1', ''],
  ['icmp names', '[RULES]\nIN ACCEPT -p icmp -dport ', 'any,', 'any'],
  ['IPv4 list', '[RULES]\nIN ACCEPT -source ', '1,', '1'],
  ['IPv6 list', '[RULES]\nIN ACCEPT -source ', '::,', '::'],
  ['dots', '[RULES]\nIN ACCEPT -source ', '1.', '1'],
  ['colons', '[RULES]\nIN ACCEPT -source ', ':', ''],
  ['dashes', '[RULES]\nIN ACCEPT -source 1', '-', ''],
  ['slashes', '[RULES]\nIN ACCEPT -source 1', '/1', ''],
  ['set name', '[RULES]\nIN ACCEPT -source +', 'a', '!'],
  ['alias name', '[RULES]\nIN ACCEPT -source ', 'a', '!'],
  ['interface', '[RULES]\nIN ACCEPT -i net', '1', 'x'],
  ['brackets', '[ipset ', ']', 'x y'],
  ['brackets and blanks', '[ipset ', '] ', 'x'],
  ['header blanks', '[ipset', ' ', 'ab]'],
  ['header comment', '[group ab] ', ' ', '# x y'],
  ['option value', '[OPTIONS]\nenable: ', '1', 'x'],
  ['option blanks', '[OPTIONS]\nenable:', ' ', '1 x'],
  ['option list', '[OPTIONS]\nlayer2_protocols: ', 'a,', ' b'],
  ['alias line', '[ALIASES]\nab ', '1', ' #'],
  ['alias blanks', '[ALIASES]\nab 1.1.1.1', ' ', '# \xff'],
  ['set line', '[IPSET ab]\n!', ' ', '1.1.1.1 x'],
  ['set entries', '[IPSET ab]\n', '1.1.1.1\n', ''],
  ['rules', '[RULES]\n', 'IN SSH(ACCEPT) -source dc/web -p tcp # NAT 22\n', ''],
  ['group headers', '', '[group ab]\n', ''],
  ['line feeds', '[RULES]', '\n', 'IN ACCEPT'],
  ['no section', '', 'a\n', ''],
]

test.each(LONG)('a MiB takes well under a second: %s', (_, before, unit, behind) => {
  const text = before + unit.repeat(Math.floor(MIB / unit.length)) + behind
  // Of CPU time: others may be at work, too. Anything quadratic takes minutes.
  for (const kind of ['cluster', 'vm'] as const) {
    const start = process.cpuUsage()
    readFw(text, kind, contextOf(kind))
    const { user, system } = process.cpuUsage(start)
    expect((user + system) / 1000).toBeLessThan(900)
  }
})
