// The comment never guesses: whatever is typed, a rule is in force only at ports that stand in the comment, or at its own where
// nothing in the comment looks like a port, an address, an interface or a refusal.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { word } from '../../src/diagnostic.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

async function typed(comment: string, rule: string): Promise<Outcome> {
  const text = `[OPTIONS]\nenable: 1\n[RULES]\n${rule} # ${comment}\n`
  const bytes = Buffer.from(text).toString('latin1')
  return compile((await worldOf(caseOf(new Map([['firewall/105.fw', bytes]])))).look)
}

const blank = fc.constantFrom(' ', ' ', ' ', '  ', '\t', '\u00a0', '\u2003', '\u3000', '\u200b')
const part = fc.oneof(
  fc.constantFrom(
    'port',
    'web2',
    'vm107',
    'ssh',
    'in',
    'to',
    'ext',
    'for',
    'users',
    'no',
    'none',
    'Off',
    '?',
    'auto',
    '-',
  ),
  fc.constantFrom(
    '9090',
    '8080',
    '22',
    '7',
    '123456',
    '20000-20003',
    '9000:9080',
    '80:90',
    '70000',
    '８０８１',
  ),
  fc.constantFrom(
    '203.0.113.7',
    '10.10.10.108',
    '2001:db8:113::7',
    '[2001:db8:113::7]',
    'fd10::108',
    '0.0.0.0',
    '8.8.8.8',
  ),
  fc.constantFrom(
    'vmbr0',
    'if=vmbr0',
    'to=10.10.10.105',
    'snat=1',
    'Snat=1',
    'hairpin=no',
    'snat',
    'full',
    'full=1',
    'dport=8092',
  ),
)
const glue = fc.constantFrom('', '', '', ',', ':', '->', '/', '(', ')', '.', '=', '"', '#', '>', '*', '：')
/** Half of the words are as the grammar has them, or the test would hardly see a rule that is in force. */
const wordTyped = fc.oneof(
  part,
  fc.tuple(part, glue, part).map((parts) => parts.join('')),
  fc.tuple(glue, part, glue).map((parts) => parts.join('')),
  fc.tuple(glue, part, glue, part, glue).map((parts) => parts.join('')),
)
const comment = fc
  .tuple(
    fc.constantFrom('NAT', 'NAT', 'NAT', 'NAT:', 'nat', 'NAT-'),
    fc.array(fc.tuple(blank, fc.oneof(part, wordTyped)), { maxLength: 4 }),
  )
  .map(([mark, words]) => [mark, ...words.flat()].join(''))

const BLANKS = /[\s\u200b]+/u
/** Words before a lone dash, without the address and the options that the grammar takes. */
function words(text: string): string[] {
  const all = text.normalize('NFKC').split(BLANKS).slice(1)
  const dash = all.indexOf('-')
  const [first = '', ...rest] = (dash < 0 ? all : all.slice(0, dash)).filter((one) => one !== '')
  const isAddress = ['203.0.113.7', '2001:db8:113::7', '[2001:db8:113::7]'].includes(first)
  const plain = [...(isAddress ? [] : [first]), ...rest].filter(
    (one) => !/^(?:if|to|snat|full|hairpin)=\S+$/.test(one),
  )
  // Behind an address only the next word can name an interface.
  return plain.map((one, i) => (isAddress && i > 0 ? one.replaceAll('vmbr0', '') : one))
}

/** Every port that stands in the comment, alone or in a range. */
function standsThere(text: string, port: number): boolean {
  const numbers = [...text.normalize('NFKC').matchAll(/(?<!\d)(\d+)(?:[-:](\d+))?(?!\d)/g)]
  return numbers.some(([, lo, hi = lo]) => Number(lo) <= port && port <= Number(hi))
}

/** `/22` is the length of a network. */
const LOOKS =
  /(?<![\p{L}\p{N}_])(?!(?<![\p{L}\p{N}_]\/)(?<=\/)22)(?:\d{2,5}|vmbr0|\d+\.\d+\.\d+\.\d+)(?![\p{L}\p{N}_])/u

test('no rule is in force at a port that nobody typed', async () => {
  let installed = 0
  await fc.assert(
    fc.asyncProperty(comment, fc.constantFrom('', ' -sport 822'), async (text, sport) => {
      const { translation } = await typed(text, `IN ACCEPT -p tcp -dport 81${sport}`)
      const active = translation.rules.filter(({ state, kind }) => state === 'active' && kind === 'forward')
      installed += active.length
      for (const { ports } of active.flatMap(({ forwards }) => forwards)) {
        if (!ports || ports.every((port) => standsThere(text, port))) continue
        expect(ports).toEqual(sport === '' ? [81, 81] : [822, 822])
        expect(words(text).filter((one) => LOOKS.test(one))).toEqual([])
        expect(words(text).filter((one) => /^(?:none|off|snat|full)$/i.test(one))).toEqual([])
      }
    }),
    {
      numRuns: 2000,
      examples: [
        ['NAT .0.0.0.0#port', ''],
        ['NAT port.8.8.8.8', ''],
      ],
    },
  )
  // Of comments that all are in error nothing would be learnt.
  expect(installed).toBeGreaterThan(100)
}, 60_000)

test('nothing is told against a comment that was proposed', async () => {
  await fc.assert(
    fc.asyncProperty(
      comment,
      fc.constantFrom('IN ACCEPT -p tcp -dport 81', 'OUT ACCEPT'),
      async (text, rule) => {
        const { translation } = await typed(text, rule)
        const ofComment = translation.diagnostics.filter(({ code }) =>
          /^(?:text|endpoint|option|near)/.test(code),
        )
        for (const proposal of ofComment.flatMap((one) => word(one).proposals)) {
          const again = (await typed(proposal, rule)).translation.diagnostics
          expect(
            again.filter(({ code }) => /^(?:text|endpoint|near)/.test(code)).map((one) => word(one).message),
          ).toEqual([])
        }
      },
    ),
    { numRuns: 300 },
  )
}, 60_000)
