// The closed lists of words that go into rules: both backends load every protocol and every icmp type in both families.
import { expect, test } from 'vitest'
import type { Family } from '../../src/address.ts'
import { icmpTypeNames } from '../../src/fw/icmptypes.ts'
import { MATCHES_PORTS, PROTOCOLS } from '../../src/nat/template.ts'
import { openTrial } from '../../src/node/preflight.ts'
import type { Rule } from '../../src/ruleset/ruleset.ts'
import { chainText } from '../../src/ruleset/restore-text.ts'
import { backends } from '../lab/index.ts'

const target = { kind: 'masquerade' } as const

function rules(family: Family): Rule[] {
  const proto = family === 4 ? 'icmp' : 'icmpv6'
  return [
    ...[...PROTOCOLS].map((name): Rule => ({ proto: name, target })),
    ...[...MATCHES_PORTS].flatMap((name): Rule[] => [
      { proto: name, ports: [5, 5], target },
      { proto: name, ports: [5, 9], sport: [1, 65_535], target },
    ]),
    ...icmpTypeNames(family).map((icmpType): Rule => ({ proto, icmpType, target })),
  ]
}

test.each(backends.flatMap((backend) => ([4, 6] as const).map((family) => ({ backend, family }))))(
  'every word is taken by $backend, IPv$family',
  async ({ backend, family }) => {
    const lines = chainText({ table: 'nat', name: 'PVENAT-TRY', rules: rules(family) }, family)
    expect(lines.length).toBeGreaterThan(30)
    const trial = await openTrial(backend)
    const text = ['*nat', ':PVENAT-TRY - [0:0]', ...lines.map(({ line }) => line), 'COMMIT', ''].join('\n')
    try {
      expect(await trial?.restore(family, text)).toBeUndefined()
      // One that no backend has is refused: the trial is one.
      expect(
        await trial?.restore(family, text.replace('-p udplite ', '-p udplite -m udplite --dport 5 ')),
      ).toBeInstanceOf(Error)
    } finally {
      trial?.end()
    }
  },
)
