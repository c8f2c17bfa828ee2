// Firewall bridges where bridged packets meet no iptables, and beside the nftables firewall.
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { FAMILIES } from '../../src/address.ts'
import type { KernelFacts } from '../../src/nat/view.ts'
import type { Look } from '../../src/read.ts'
import { NOTHING_INSTALLED } from '../../src/ruleset/installed.ts'
import { makePlan } from '../../src/ruleset/plan.ts'
import { loadCases } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

/** FORWARD drops, so that every chain is wanted. */
const DROPS: KernelFacts = { ownChains: [], forwardDrops: FAMILIES }

const looks = await Promise.all(
  loadCases().map(async (one) => [one.name, (await worldOf(one)).look] as const),
)

test('no rule loads br_netfilter where it is not loaded, and nothing else changes', () => {
  const lines = (look: Look): string[] => {
    const { tables } = makePlan(compile({ ...look, kernel: DROPS }).ruleset, NOTHING_INSTALLED)
    // Without the hashes, which rest on all rules before.
    return `${tables[4]}${tables[6]}`.replace(/ -m comment --comment \S+/g, '').split('\n')
  }
  let left = 0
  for (const [name, look] of looks) {
    const [all, some] = [lines(look), lines({ ...look, hasBridgeNetfilter: false })]
    expect(some.join('\n'), name).not.toContain('physdev')
    const without = all.filter((line) => !line.includes(' --physdev-is-bridged --physdev-'))
    expect(some, name).toEqual(without.map((line) => line.replace(' -m physdev ! --physdev-is-bridged', '')))
    left += all.length - some.length
  }
  expect(left).toBeGreaterThan(looks.length)
})

test('the zone on bridges is wanted with the nftables firewall, while anything is NATed', () => {
  const zone = ([, look]: (typeof looks)[number]) => compile(look).ruleset.hasBridgeZone
  const wanted = looks.filter(zone).map(([name]) => name)
  expect(wanted).toContain('foresee-policy-forward')
  expect(wanted).not.toContain('foresee-guest-drops')
  const [, look] = looks.find(([name]) => name === 'foresee-policy-forward') ?? expect.fail('no case')
  const tree = {
    ...look.tree,
    fw: new Map([...look.tree.fw].map(([file, text]) => [file, text.replace(/ # NAT.*/g, '')])),
  }
  expect(compile({ ...look, tree }).ruleset.hasBridgeZone).toBe(false)
  // It stays as long as the rest does.
  expect(compile({ ...look, tree, kernel: { ...DROPS, ownChains: [4] } }).ruleset.hasBridgeZone).toBe(true)
})
