/** All chains of pvenat, from top to bottom. Each part of a chain is a function in a file beside this one. */
import { FAMILIES, type Family } from '../address.ts'
import type { Egress, KernelSet, NatRule } from '../nat/nat-rule.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import { bridgeHelpers, shiftedHelpers } from './conntrack-helpers.ts'
import { leaveFirewallBridges, withoutPhysdev, zoneOfFirewallBridges } from './firewall-bridges.ts'
import { acceptsOfSourcePorts, blocks, leaveAllButNew } from './forward-chain.ts'
import { passBridged, passLoop, passRouted } from './forward-policy-bypass.ts'
import { forwardChains, jumpsToForwards } from './forwards.ts'
import { chainOf, type Chain, type Ruleset } from './ruleset.ts'
import { clampMss } from './mss.ts'
import { loopParties, loopRules, NO_LOOP } from './self-hairpin.ts'
import { exemptOrTranslate, hairpin, innerSource } from './source-translation.ts'
import { SIZES, type Sizes } from './split.ts'
import { written } from './restore-text.ts'
import { keptIn, routingByUplink } from './uplinks.ts'
import { wantedOf, type Wanted } from './wanted.ts'

/** The chains of one family. */
function familyChains(wanted: Wanted, isForwardDrop: boolean): { chains: Chain[]; hasLoop: boolean } {
  const parties = loopParties(wanted)
  const forwards = forwardChains(wanted, parties)
  const loop = loopRules(parties, forwards.jumps, wanted)
  const { incoming, fromNode } = jumpsToForwards(forwards.jumps, wanted)
  const { postrouting } = loop
  const chains = [
    chainOf(
      'raw',
      'PVENAT-ZONE',
      bridgeHelpers(wanted),
      zoneOfFirewallBridges,
      shiftedHelpers(wanted),
      loop.zone,
    ),
    chainOf(
      'filter',
      'PVENAT-FORWARD',
      leaveAllButNew,
      loop.forward,
      blocks(wanted),
      keptIn(wanted),
      acceptsOfSourcePorts(wanted),
    ),
    isForwardDrop
      ? chainOf('filter', 'PVENAT-PASS', passLoop(loop), passRouted(wanted), passBridged(wanted))
      : [],
    forwards.chains,
    chainOf('nat', 'PVENAT-PREROUTING', leaveFirewallBridges, loop.prerouting, incoming),
    chainOf('nat', 'PVENAT-OUTPUT', fromNode),
    chainOf(
      'nat',
      'PVENAT-POSTROUTING',
      postrouting,
      hairpin(wanted),
      innerSource(wanted),
      exemptOrTranslate(wanted),
    ),
  ]
  return { chains: chains.flat(), hasLoop: loop !== NO_LOOP }
}

/** The ruleset that a translation asks for. `sizes`: from how many rules on chains are split. */
export function buildRuleset({ rules, dispatch }: Translation, view: View, sizes: Sizes = SIZES): Ruleset {
  const active = rules.filter(({ state }) => state === 'active')
  const chains: Record<Family, Chain[]> = { 4: [], 6: [] }
  const loop: Family[] = []
  const egresses: Record<Family, readonly Egress[] | undefined> = { 4: undefined, 6: undefined }
  for (const family of FAMILIES) {
    if (!isAskedFor(active, family) && !view.kernel.ownChains.includes(family)) continue
    const wanted = wantedOf(active, dispatch[family], family, view, sizes)
    const built = familyChains(wanted, view.kernel.forwardDrops.includes(family))
    chains[family] = view.hasBridgeNetfilter ? built.chains : withoutPhysdev(built.chains)
    egresses[family] = wanted.egresses
    if (built.hasLoop) loop.push(family)
  }
  const { marks, rest, routing, loose } = routingByUplink(view, egresses)
  for (const family of FAMILIES) {
    chains[family].find(({ name }) => name === 'PVENAT-POSTROUTING')?.rules.push(...rest[family])
    chains[family].push(...marks[family])
    if (chains[family].length > 0) chains[family].push(...clampMss(view, family))
  }
  const all = [...chains[4], ...chains[6]]
  const hasBridgeZone = view.firewall === 'nftables' && all.length > 0
  const texts = {
    4: chains[4].map((chain) => written(chain, 4)),
    6: chains[6].map((chain) => written(chain, 6)),
  }
  return { chains: texts, sets: usedSets(all), loop, routing, loose, hasBridgeZone }
}

function isAskedFor(rules: readonly NatRule[], family: Family): boolean {
  return rules.some(({ forwards, egresses, blocks: some }) =>
    [forwards, egresses, some].some((list) => list.some((one) => one.family === family)),
  )
}

function usedSets(chains: readonly Chain[]): KernelSet[] {
  const byName = new Map<string, KernelSet>()
  for (const { rules } of chains) {
    for (const { source, destination, pair } of rules)
      for (const set of [source?.set, destination?.set, pair]) if (set) byName.set(set.name, set)
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
