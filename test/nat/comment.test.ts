// What the golden cases do not show of the comment language: places, limits, and that nothing makes it fail.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatRange } from '../../src/address.ts'
import { isError, word as worded } from '../../src/diagnostic.ts'
import { parseComment, type Around, type NatComment } from '../../src/nat/comment.ts'
import { isMarked } from '../../src/nat/words.ts'

const place = { file: 'firewall/107.fw', span: { line: 3, from: 20, to: 999 } }

function parse(text: string, direction: 'in' | 'out' = 'in'): NatComment {
  const around: Around = { direction, inner: () => '80', isInterface: (name) => name === 'uplink' }
  return parseComment(text, place, around)
}

/** The part of the line that a place marks; comments here are ASCII unless a test says otherwise. */
function marked(text: string, { span }: { span: { from: number; to: number } }): string {
  return Buffer.from(text)
    .subarray(span.from - 20, span.to - 20)
    .toString()
}

describe('places', () => {
  test('a range with a colon does not move the place of the ports', () => {
    const text = 'NAT 203.0.113.7:80:90'
    const { places } = parse(text)
    expect(marked(text, places.ports ?? place)).toBe('80:90')
    expect(marked(text, places.address ?? place)).toBe('203.0.113.7')
  })

  test('ports, address and endpoint of one word have a place each', () => {
    for (const text of ['NAT 203.0.113.7:80,90-99 x', 'NAT: [2001:db8::7]:80']) {
      const { places } = parse(text)
      expect(marked(text, places.all)).toBe('NAT')
      expect(marked(text, places.endpoint ?? place)).toBe(text.split(' ')[1])
      expect(marked(text, places.ports ?? place)).toBe(text.includes('90') ? '80,90-99' : '80')
      expect(marked(text, places.address ?? place)).toMatch(/^(203\.0\.113\.7|\[2001:db8::7\])$/)
    }
  })

  test('they count bytes, as files do', () => {
    const text = 'NAT größe=ß if=ü'
    const [, problem] = parse(text).problems
    expect(problem?.code).toBe('option-value')
    expect(marked(text, problem?.place ?? place)).toBe('if=ü')
  })
})

test.each([
  ['NAT 203.0.113.7:80:90', 'NAT 203.0.113.7'],
  ['NAT [2001:db8::7]:80', 'NAT 2001:db8::7'],
])('an OUT rule that says %s is told to say %s', (text, help) => {
  const [problem] = parse(text, 'out').problems
  expect(problem && worded(problem).proposals).toEqual([help])
})

test('ports are kept in the order of the list, as closed ranges', () => {
  expect(parse('NAT 443,80-81,90:95').endpoint?.ports).toEqual([
    [443, 443],
    [80, 81],
    [90, 95],
  ])
})

test('an address may be IPv6 with or without brackets', () => {
  for (const word of ['2001:db8::7', '[2001:db8::7]', '[2001:DB8:0::7]:80']) {
    const { endpoint, problems } = parse(`NAT ${word}`)
    expect(problems).toEqual([])
    expect(endpoint?.address && formatRange(endpoint.address)).toBe('2001:db8::7')
  }
})

test('`none` and `off` are words of their own, in any case', () => {
  for (const word of ['none', 'None', 'off', 'OFF']) expect(parse(`NAT ${word}`).endpoint?.kind).toBe('none')
  expect(parse('NAT nonesuch').endpoint).toBeUndefined()
})

test('a comment of a megabyte costs no more than its line', () => {
  const start = performance.now()
  const { problems } = parse(`NAT 822 ${'if=x '.repeat(200_000)}`)
  expect(problems.length).toBeLessThan(500)
  expect(performance.now() - start).toBeLessThan(500)
})

const word = fc.oneof(
  fc.constantFrom('none', '-', 'full=1', 'snat=1', 'hairpin=0', 'if=vmbr0', 'to=10.0.0.1', 'to=x', 'x=y'),
  fc.constantFrom('822', '80,443', '1-2', '2-1', '0', '65536', '203.0.113.7', '203.0.113.7:80', '[::1]:80'),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
)

test('nothing makes it fail, and every problem points into the comment', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('', ':'),
      fc.array(word, { maxLength: 6 }),
      fc.constantFrom('in' as const, 'out' as const),
      (colon, words, direction) => {
        const text = `NAT${colon} ${words.join(' ')}`
        const { problems, endpoint } = parse(text, direction)
        const length = Buffer.byteLength(text)
        for (const { place: at } of problems) {
          expect(at.span.from).toBeGreaterThanOrEqual(20)
          expect(at.span.to).toBeGreaterThan(at.span.from)
          expect(at.span.to).toBeLessThanOrEqual(20 + length)
        }
        for (const [lo, hi] of endpoint?.ports ?? []) expect(1 <= lo && lo <= hi && hi <= 65535).toBe(true)
      },
    ),
  )
})

test('a first word that looks like an endpoint is one or an error, never text', () => {
  fc.assert(
    fc.property(
      fc.tuple(fc.constantFrom(...'0123456789[:'), fc.stringMatching(/^[0-9a-f.:,[\]/-]*$/)),
      ([first, rest]) => {
        const { endpoint, problems } = parse(`NAT ${first}${rest}`)
        expect(endpoint !== undefined || problems.some(isError)).toBe(true)
      },
    ),
  )
})

test('the mark is NAT in capitals, alone or before a blank or a colon', () => {
  const marked = [
    'NAT',
    'NAT 822',
    'NAT:822',
    'NAT\u00a0822',
    'NAT\u2003',
    '\u00a0NAT',
    'NAT\t',
    'NAT\u200b822',
    'NAT\ufffd',
  ]
  for (const text of marked) expect([text, isMarked(text)]).toEqual([text, true])
  const others = [
    '',
    'nat',
    'Nat 1',
    'NATIVE',
    'NAT1',
    'NAT_',
    'NATé',
    'NAT١',
    'NAT-T',
    'NAT"',
    'NAT.',
    'NAT=1',
    'NAT,',
    'NAT/STUN',
    'NAT?',
  ]
  for (const text of others) expect([text, isMarked(text)]).toEqual([text, false])
  expect(isMarked(undefined)).toBe(false)
})

test.each(['', 'Tag=1 ', 'full=no '])(
  'a network behind to= is an error beside whatever else: "%s"',
  (other) => {
    const { problems } = parse(`NAT 80 ${other}to=10.10.10.0/28`)
    expect(problems.map(({ code }) => code)).toContain('network-form')
  },
)
