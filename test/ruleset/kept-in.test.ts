// While the kernel does not take the marks, what via= would send by one uplink leaves by no other.
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { UPLINKS } from '../../src/ruleset/uplinks.ts'
import { loadCases } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

test('rules with via= drop what would leave by another uplink', async () => {
  const one = loadCases().find(({ name }) => name === 'uplinks-via')
  if (!one) throw new Error('no such case')
  const { look } = await worldOf(one)
  const drops = (quarantined = new Map<string, string>()) =>
    compile({ ...look, quarantined })
      .ruleset.chains[4].flatMap(({ texts }) => texts.map(({ line }) => line))
      .filter((line) => line.startsWith('-A PVENAT-FORWARD ') && / -s .* -j DROP/.test(line))
      .map((line) => line.replace(/^-A PVENAT-FORWARD | -m comment --comment \S+/g, ''))
  expect(drops()).toEqual([])
  expect(drops(new Map([[UPLINKS, 'no']])).sort()).toEqual([
    '-o eth1 -s 10.10.10.0/24 -j DROP',
    '-o vmbr0 -s 10.10.10.0/24 -j DROP',
    '-o vmbr0 -s 10.10.10.105 -j DROP',
    '-o vmbr0 -s 10.10.10.108 -j DROP',
    '-o wg0 -s 10.10.10.108 -j DROP',
  ])
})
