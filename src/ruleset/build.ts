/** NAT rules → ruleset: one function for each thing that a chain is for. */
import { FAMILIES, type Family } from '../address.ts'
import type { Dispatch, KernelSet, NatRule } from '../nat/model.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import { dnatChains, jumpRules, type Jump } from './dnat.ts'
import { filterRules } from './filter.ts'
import { byAddress, joined } from './flat.ts'
import { bridgeHelpers, helpersOf, shiftedHelpers } from './helpers.ts'
import { loopParties, loopRules, NO_LOOP } from './loop.ts'
import type { Chain, Rule, Ruleset, Table } from './model.ts'
import { passRules } from './pass.ts'
import { hairpin, innerSource, sourceTranslation } from './source.ts'
import { SIZES, type Sizes, type Spread } from './tree.ts'

/** A bridge between tap and bridge exists for NICs with firewall=1 only (pve-common Network.pm). */
const FIREWALL_BRIDGES = 'fwbr+'
const FIREWALL_BRIDGE_ZONE = 1

/** What is in force already and bears on what is wanted. */
interface Situation {
  /**
   * Families whose skeleton (hooks, zone, one conntrack rule) is in force. It stays although nothing is wanted of them:
   * removing it would stall live connections.
   */
  keep: readonly Family[]
  /** Families in which the policy of FORWARD is DROP. */
  drops: readonly Family[]
}

/** The whole ruleset that a translation asks for; `sizes`: how many rules are many. */
export function buildRuleset(
  { rules, dispatch }: Translation,
  view: View,
  { keep, drops }: Situation,
  sizes: Sizes = SIZES,
): Ruleset {
  const active = rules.filter(({ state }) => state === 'active')
  const wanted = FAMILIES.filter((family) => wants(active, family) || keep.includes(family))
  const built = wanted.map(
    (family) =>
      [family, buildFamily(active, dispatch[family], family, view, drops.includes(family), sizes)] as const,
  )
  const chains = {
    4: [],
    6: [],
    ...Object.fromEntries(built.map(([family, { chains: own }]) => [family, own])),
  }
  const loop = built.filter(([, { loops }]) => loops).map(([family]) => family)
  return { chains, sets: usedSets([...chains[4], ...chains[6]]), loop }
}

function wants(rules: readonly NatRule[], family: Family): boolean {
  return rules.some(({ forwards, egresses, blocks }) =>
    [forwards, egresses, blocks].some((list) => list.some((one) => one.family === family)),
  )
}

function buildFamily(
  rules: readonly NatRule[],
  dispatch: Dispatch,
  family: Family,
  view: View,
  drops: boolean,
  sizes: Sizes,
): { chains: Chain[]; loops: boolean } {
  const internal = view.network.internal.filter(({ network }) => network.family === family)
  const egresses = rules.flatMap((rule) => rule.egresses).filter((egress) => egress.family === family)
  const helpers = helpersOf(view.host.options['nf_conntrack_helpers'], family)
  const parties = loopParties(dispatch, family, view)
  const { chains, jumps } = dnatChains(
    dispatch,
    view,
    sizes,
    (full) => parties.find(({ forwards: [only] }) => only === full)?.target,
  )
  const loop = loopRules(parties, jumps, family, sizes)
  const make = (
    table: Table,
    name: string,
    before: Rule[],
    { rules: own, chains: more }: Spread,
  ): Chain[] => [{ table, name, rules: [...before, ...own] }, ...more]
  const { incoming, own } = jumpTree(jumps, family, view, sizes)
  return {
    chains: [
      {
        table: 'raw',
        name: 'PVENAT-ZONE',
        rules: [
          ...bridgeHelpers(helpers, FIREWALL_BRIDGES, FIREWALL_BRIDGE_ZONE),
          firewallBridgeZone(),
          ...shiftedHelpers(dispatch, helpers),
          ...loop.zone,
        ],
      },
      ...make('filter', 'PVENAT-FORWARD', [], filterRules(rules, dispatch, family, internal, loop, sizes)),
      ...(drops
        ? make('filter', 'PVENAT-PASS', [], passRules(rules, dispatch, family, internal, loop, sizes))
        : []),
      ...chains,
      ...make('nat', 'PVENAT-PREROUTING', [passFirewallBridges(), ...loop.prerouting], incoming),
      ...loop.chains,
      { table: 'nat', name: 'PVENAT-OUTPUT', rules: own },
      ...make(
        'nat',
        'PVENAT-POSTROUTING',
        loop.postrouting,
        joined([
          hairpin(internal, family, view, sizes),
          innerSource(dispatch, family, sizes),
          sourceTranslation(egresses, family, sizes),
        ]),
      ),
    ],
    loops: loop !== NO_LOOP,
  }
}

/** The ways to the chains of external addresses, for what comes in and for the node's own; many of them are the same tree. */
function jumpTree(
  jumps: readonly Jump[],
  family: Family,
  view: View,
  sizes: Sizes,
): { incoming: Spread; own: Rule[] } {
  const tree = { table: 'nat', tag: 'EX', family, side: 'destination', anyOrder: false } as const
  const incoming = byAddress(jumpRules(jumps, view), tree, sizes)
  return { incoming, own: incoming.rules.filter((rule) => rule.in === undefined) }
}

/** Without it a guest with firewall=1 could not be masqueraded: its packets would pass conntrack once on the firewall bridge, and what is decided there sticks. */
function firewallBridgeZone(): Rule {
  return { in: FIREWALL_BRIDGES, target: { kind: 'zone', zone: FIREWALL_BRIDGE_ZONE } }
}

/** With bridge-nf-call-iptables=1 a packet meets the nat table once more on the firewall bridge; there it must stay as it is. */
function passFirewallBridges(): Rule {
  return { in: FIREWALL_BRIDGES, target: { kind: 'return' } }
}

function usedSets(chains: readonly Chain[]): KernelSet[] {
  const byName = new Map<string, KernelSet>()
  for (const { rules } of chains) {
    for (const { source, destination, pair } of rules)
      for (const set of [source?.set, destination?.set, pair]) if (set) byName.set(set.name, set)
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
