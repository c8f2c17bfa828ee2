/** PVENAT-POSTROUTING: who is seen as whom. */
import { sameRange, type Family, type Range } from '../address.ts'
import type { Dispatch, Egress, Forward } from '../nat/model.ts'
import type { View } from '../nat/view.ts'
import type { InternalNetwork } from '../network.ts'
import { matches, packets } from './conditions.ts'
import { byAddress, inChain, joined } from './flat.ts'
import type { Chain, Rule, Target } from './model.ts'
import type { Sizes, Spread } from './tree.ts'

/** Guests of one network that call each other by the external address: the answer must come back through this node. */
export function hairpin(
  internal: readonly InternalNetwork[],
  family: Family,
  view: View,
  sizes: Sizes,
): Spread {
  if (view.settings.hairpin === 'no') return { rules: [], chains: [] }
  const rules = internal.map(({ network }): Rule => ({
    source: { ranges: [network] },
    destination: { ranges: [network] },
    state: 'DNAT',
    target: { kind: 'masquerade' },
  }))
  const tree = { table: 'nat', tag: 'HP', family, side: 'source', anyOrder: true } as const
  return inChain('nat', 'PVENAT-HAIRPIN', byAddress(rules, tree, sizes))
}

/** snat=1: the guest sees the node's inner address, of the very clients and ports that were granted to the forward. */
export function innerSource({ common, addresses }: Dispatch, family: Family, sizes: Sizes): Spread {
  const translated = ({ inner, source, proto, ports, snat, rule }: Forward, address: Range): Rule => ({
    ...(proto === 'all' ? {} : { proto }),
    ...matches(source, { ranges: [inner] }),
    state: 'DNAT',
    originalDestination: address,
    ...(ports ? { originalPorts: ports } : {}),
    target: { kind: snat ? 'masquerade' : 'return' },
    serves: rule.id,
  })
  const rules: Rule[] = []
  const fulls: Rule[] = []
  for (const { address, special, common: shares } of addresses) {
    const here = [...special, ...(shares ? common : [])]
    rules.push(...here.filter(({ snat, full }) => snat && !full).map((one) => translated(one, address)))
    for (const full of here.filter(({ snat, full: is }) => snat && is)) {
      // Other forwards to the guest come first, as they do on the way in.
      const others = here.filter((one) => !one.full && !one.snat && sameRange(one.inner, full.inner))
      fulls.push(...[...others, full].map((one) => translated(one, address)))
    }
  }
  const tree = { table: 'nat', tag: 'SN', family, side: 'destination', anyOrder: true } as const
  const all: Chain = { table: 'nat', name: 'PVENAT-SNAT-ALL', rules: fulls }
  return joined([
    inChain('nat', 'PVENAT-SNAT', byAddress(rules, tree, sizes)),
    fulls.length > 0
      ? { rules: [{ target: { kind: 'jump', chain: all.name } }], chains: [all] }
      : { rules: [], chains: [] },
  ])
}

/**
 * Exemptions come before translations, whatever the order of the files. Every rule has a source. In a tree by
 * source each leaf keeps that order; what comes behind the last rule of a single address, the wide rules of cluster and host,
 * stands once for all leaves.
 */
export function sourceTranslation(egresses: readonly Egress[], family: Family, sizes: Sizes): Spread {
  const rules = translations(egresses)
  const isOfOne = ({ source }: Rule): boolean =>
    Array.isArray(source?.ranges) &&
    source.ranges.length === 1 &&
    source.ranges[0]?.lo === source.ranges[0]?.hi
  const count = rules.length - [...rules].reverse().findIndex(isOfOne)
  const tail = rules.slice(count)
  const tree = { table: 'nat', tag: 'EG', family, side: 'source', anyOrder: false } as const
  if (rules.length < sizes.plain || tail.length < 2) return byAddress(rules, tree, sizes)
  const rest = { table: 'nat', name: 'PVENAT-EG-REST', rules: tail } as const
  const toRest: Rule = { target: { kind: 'goto', chain: rest.name } }
  const { rules: own, chains } = byAddress([...rules.slice(0, count), toRest], tree, sizes)
  return { rules: own, chains: [...chains, rest] }
}

function translations(egresses: readonly Egress[]): Rule[] {
  const ordered = [...egresses.filter(({ exempt }) => exempt), ...egresses.filter(({ exempt }) => !exempt)]
  return ordered.flatMap((egress) => {
    const { source, destination, out, to, exempt, rule } = egress
    const target: Target = exempt ? { kind: 'exempt' } : to ? { kind: 'snat', to } : { kind: 'masquerade' }
    const what = { ...packets(egress), ...matches(source, destination), target, serves: rule.id }
    // An exemption holds wherever the packet leaves: other people's rules are not confined to external interfaces.
    if (exempt && rule.askedInterface === undefined) return [what]
    return out.map((name) => ({ ...what, out: name }))
  })
}
