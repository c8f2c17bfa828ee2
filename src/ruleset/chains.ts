/** All chains of pvenat, from top to bottom. Each part of a chain is a function in a file beside this one. */
import { FAMILIES, type Family } from '../address.ts'
import type { KernelSet, NatRule } from '../nat/nat-rule.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import { bridgeHelpers, shiftedHelpers } from './conntrack-helpers.ts'
import { leaveFirewallBridges, withoutPhysdev, zoneOfFirewallBridges } from './firewall-bridges.ts'
import { acceptsOfSourcePorts, blocks, leaveAllButNew } from './forward-chain.ts'
import { passBridged, passLoop, passRouted } from './forward-policy-bypass.ts'
import { forwardChains, jumpsToForwards } from './forwards.ts'
import { chainOf, setsOf, type Chain, type Rule, type Ruleset } from './ruleset.ts'
import { clampMss } from './mss.ts'
import { loopParties, loopRules, NO_LOOP } from './self-hairpin.ts'
import { exemptOrTranslate, hairpin, innerSource } from './source-translation.ts'
import { behindJump, SIZES, type Sizes } from './split.ts'
import { written } from './restore-text.ts'
import { keptIn, routingByUplink } from './uplinks.ts'
import { wantedOf, type Wanted } from './wanted.ts'

/** The chains of one family. `rest`: rules of nat POSTROUTING for the packets that no egress takes. */
function familyChains(
  wanted: Wanted,
  isForwardDrop: boolean,
  rest: readonly Rule[],
): { chains: Chain[]; hasLoop: boolean } {
  const parties = loopParties(wanted)
  const forwards = forwardChains(wanted, parties)
  const loop = loopRules(parties, forwards.jumps, wanted)
  const { incoming, fromNode } = jumpsToForwards(forwards.jumps, wanted)
  const { postrouting } = loop
  const egresses = exemptOrTranslate(wanted)
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
      rest.length > 0 ? behindJump('nat', 'PVENAT-EGRESS', egresses) : egresses,
      rest,
    ),
  ]
  return { chains: chains.flat(), hasLoop: loop !== NO_LOOP }
}

/** The ruleset that a translation asks for. `sizes`: from how many rules on chains are split. */
export function buildRuleset({ rules, dispatch }: Translation, view: View, sizes: Sizes = SIZES): Ruleset {
  const active = rules.filter(({ state }) => state === 'active')
  const wanted = (family: Family): Wanted | undefined =>
    isAskedFor(active, family) || view.kernel.ownChains.includes(family)
      ? wantedOf(active, dispatch[family], family, view, sizes)
      : undefined
  const both = { 4: wanted(4), 6: wanted(6) }
  const { marks, rest, routing, loose } = routingByUplink(view, {
    4: both[4]?.egresses,
    6: both[6]?.egresses,
  })
  const chains: Record<Family, Chain[]> = { 4: [], 6: [] }
  const loop: Family[] = []
  for (const family of FAMILIES) {
    const own = both[family]
    if (!own) continue
    const built = familyChains(own, view.kernel.forwardDrops.includes(family), rest[family])
    const plain = view.hasBridgeNetfilter ? built.chains : withoutPhysdev(built.chains)
    chains[family] = [...plain, ...marks[family], ...clampMss(view, family)]
    if (built.hasLoop) loop.push(family)
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
    for (const set of rules.flatMap(setsOf)) byName.set(set.name, set)
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
