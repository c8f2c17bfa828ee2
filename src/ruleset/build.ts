/** NAT rules → ruleset: one function for each thing that a chain is for. */
import { FAMILIES, type Family } from '../address.ts'
import type { Dispatch } from '../nat/claims.ts'
import type { KernelSet, NatRule } from '../nat/model.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import { dnatChains, jumpRules } from './dnat.ts'
import { filterRules } from './filter.ts'
import { loopRules, NO_LOOP } from './loop.ts'
import type { Chain, Rule, Ruleset } from './model.ts'
import { passRules } from './pass.ts'
import { hairpin, innerSource, sourceTranslation } from './source.ts'

/** A bridge between tap and bridge exists for NICs with firewall=1 only (pve-common Network.pm). */
const FIREWALL_BRIDGES = 'fwbr+'

/** What is in force already and bears on what is wanted. */
export interface Situation {
  /**
   * Families whose skeleton (hooks, zone, one conntrack rule) is in force. It stays although nothing is wanted of them:
   * removing it would stall live connections.
   */
  keep: readonly Family[]
  /** Families in which the policy of FORWARD is DROP. */
  drops: readonly Family[]
}

/** The whole ruleset that a translation asks for. */
export function buildRuleset(
  { rules, dispatch }: Translation,
  view: View,
  { keep, drops }: Situation,
): Ruleset {
  const active = rules.filter(({ state }) => state === 'active')
  const wanted = FAMILIES.filter((family) => wants(active, family) || keep.includes(family))
  const built = wanted.map(
    (family) =>
      [family, buildFamily(active, dispatch[family], family, view, drops.includes(family))] as const,
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
    [...forwards, ...egresses, ...blocks].some((one) => one.family === family),
  )
}

function buildFamily(
  rules: readonly NatRule[],
  dispatch: Dispatch,
  family: Family,
  view: View,
  drops: boolean,
): { chains: Chain[]; loops: boolean } {
  const internal = view.network.internal.filter(({ network }) => network.family === family)
  const egresses = rules.flatMap((rule) => rule.egresses).filter((egress) => egress.family === family)
  const { chains, jumps } = dnatChains(dispatch, view)
  const loop = loopRules(dispatch, jumps, family, view)
  const nat = (name: string, own: Rule[]): Chain => ({ table: 'nat', name, rules: own })
  const filter = (name: string, own: Rule[]): Chain => ({ table: 'filter', name, rules: own })
  return {
    chains: [
      { table: 'raw', name: 'PVENAT-ZONE', rules: [firewallBridgeZone(), ...loop.zone] },
      filter('PVENAT-FORWARD', filterRules(rules, dispatch, family, internal, loop)),
      ...(drops ? [filter('PVENAT-PASS', passRules(rules, dispatch, family, internal, loop))] : []),
      ...chains,
      nat('PVENAT-PREROUTING', [passFirewallBridges(), ...loop.prerouting, ...jumpRules(jumps, view)]),
      nat(
        'PVENAT-OUTPUT',
        jumpRules(
          jumps.filter(({ outside }) => !outside),
          view,
        ),
      ),
      nat('PVENAT-POSTROUTING', [
        ...loop.postrouting,
        ...hairpin(internal, view),
        ...innerSource(dispatch),
        ...sourceTranslation(egresses),
      ]),
    ],
    loops: loop !== NO_LOOP,
  }
}

/** Without it a guest with firewall=1 could not be masqueraded: its packets would pass conntrack once on the firewall bridge, and what is decided there sticks. */
function firewallBridgeZone(): Rule {
  return { in: FIREWALL_BRIDGES, target: { kind: 'zone', zone: 1 } }
}

/** With bridge-nf-call-iptables=1 a packet meets the nat table once more on the firewall bridge; there it must stay as it is. */
function passFirewallBridges(): Rule {
  return { in: FIREWALL_BRIDGES, target: { kind: 'return' } }
}

function usedSets(chains: readonly Chain[]): KernelSet[] {
  const sets = chains.flatMap(({ rules }) =>
    rules.flatMap(({ source, destination, pair }) => [source?.set, destination?.set, pair]),
  )
  const byName = new Map(sets.flatMap((set) => (set ? [[set.name, set]] : [])))
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
