// The port that help proposes is free: typed in place of the one that was refused, the rule is in force at it.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { word } from '../../src/diagnostic.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

async function outcomeOf(rules: Record<string, string[]>, settings: string): Promise<Outcome> {
  const files = new Map(
    Object.entries(rules).map(([vmid, lines]) => [
      `firewall/${vmid}.fw`,
      `[OPTIONS]\nenable: 1\n[RULES]\n${lines.join('\n')}\n`,
    ]),
  )
  const one = { ...caseOf(files.set('pvenat.conf', settings)), listening: 'tcp *:8010 cockpit\n' }
  return compile((await worldOf(one)).look)
}

const port = fc.oneof(fc.integer({ min: 8000, max: 8020 }), fc.constantFrom(22, 443, 2000, 65535, 60010))
const ports = fc.oneof(
  port.map(String),
  fc.tuple(port, fc.integer({ min: 1, max: 4 })).map(([lo, more]) => `${lo}-${Math.min(65535, lo + more)}`),
)
const comment = fc
  .tuple(fc.constantFrom('', '203.0.113.7:'), ports, fc.constantFrom('', ' hairpin=0'))
  .map((parts) => `NAT ${parts.join('')}`)
const rule = fc.constantFrom('IN SSH(ACCEPT)', 'IN ACCEPT', 'IN ACCEPT -p udp -dport 53', 'IN ACCEPT -p tcp')

test('what is proposed in place of a port that cannot be had is in force once it is typed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(comment, { maxLength: 6 }),
      comment,
      rule,
      fc.constantFrom('', '[guest 107]\nports = 8000-8030,2000\n'),
      async (others, own, form, settings) => {
        const rules = (text: string) => ({
          105: others.map((one) => `IN ACCEPT # ${one}`),
          107: [`${form} # ${text}`],
        })
        const { translation } = await outcomeOf(rules(own), settings)
        const wanting = translation.diagnostics.filter(
          ({ code, place }) => /^port-/.test(code) && place.file.endsWith('107.fw'),
        )
        const proposals = new Set(wanting.flatMap((one) => word(one).proposals))
        for (const proposal of proposals) {
          const again = await outcomeOf(rules(proposal), settings)
          const mine = again.translation.rules.filter(({ comment: text }) => text === proposal)
          expect(mine.map(({ state, reason }) => [state, reason])).toEqual([['active', '']])
        }
      },
    ),
    { numRuns: 300 },
  )
}, 60_000)
