/** PVENAT-POSTROUTING: the source that a packet leaves with. */
import { sameRange, type Range } from '../address.ts'
import type { Egress, Forward } from '../nat/nat-rule.ts'
import { matches, packets } from './conditions.ts'
import { chainOf, joined, type Part, type Rule, type Target } from './ruleset.ts'
import { externalSourcePorts } from './udp-source-port.ts'
import { behindJump, splitByAddress } from './split.ts'
import { forwardsByAddress, type Wanted } from './wanted.ts'

/** Guests of one network that call each other by the external address: the answer must come back through this node. */
export function hairpin({ internal, view }: Wanted): Rule[] {
  if (view.settings.hairpin === 'no') return []
  return internal.map(({ network }) => ({
    source: { ranges: [network] },
    destination: { ranges: [network] },
    state: 'DNAT',
    target: { kind: 'masquerade' },
  }))
}

/** snat=1: the guest sees the node's inner address; only for the clients and ports that were granted to the forward. */
export function innerSource({ dispatch, family, sizes }: Wanted): Part {
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
  for (const { address, forwards: here } of forwardsByAddress(dispatch)) {
    rules.push(...here.filter(({ snat, full }) => snat && !full).map((one) => translated(one, address)))
    for (const full of here.filter(({ snat, full: is }) => snat && is)) {
      // Other forwards to the guest come first, as they do on the way in, and so do addresses that are left out of a network.
      const others = here.filter((one) => !one.full && !one.snat && sameRange(one.inner, full.inner))
      const left = full.except.flatMap((one) =>
        one.at ? translated({ ...full, ...one, snat: false }, one.at) : [],
      )
      fulls.push(...left, ...[...others, full].map((one) => translated(one, address)))
    }
  }
  const by = { table: 'nat', tag: 'SN', family, side: 'destination', anyOrder: true } as const
  const toFulls: Rule = { target: { kind: 'jump', chain: 'PVENAT-SNAT-ALL' } }
  return joined([
    behindJump('nat', 'PVENAT-SNAT', splitByAddress(rules, by, sizes)),
    fulls.length > 0 ? { rules: [toFulls], chains: chainOf('nat', 'PVENAT-SNAT-ALL', fulls) } : [],
  ])
}

/**
 * Exemptions come before translations, in any order of files. Every rule has a source; when rules are split by it, each chain keeps this order.
 * The rules behind the last rule of a single address (wide rules of cluster and host) stand in one chain for all.
 */
export function exemptOrTranslate(wanted: Wanted): Part {
  const { egresses, family, sizes } = wanted
  const ports = externalSourcePorts(wanted)
  const rules = [
    ...translations(egresses.filter(({ exempt }) => exempt)),
    ...ports.rules,
    ...translations(egresses.filter(({ exempt }) => !exempt)),
  ]
  const isOfOne = ({ source }: Rule): boolean =>
    Array.isArray(source?.ranges) &&
    source.ranges.length === 1 &&
    source.ranges[0]?.lo === source.ranges[0]?.hi
  const count = rules.length - [...rules].reverse().findIndex(isOfOne)
  const wide = rules.slice(count)
  const by = { table: 'nat', tag: 'EG', family, side: 'source', anyOrder: false } as const
  if (rules.length < sizes.plain || wide.length < 2)
    return joined([splitByAddress(rules, by, sizes), { rules: [], chains: ports.chains }])
  const toWide: Rule = { target: { kind: 'goto', chain: 'PVENAT-EG-REST' } }
  const { rules: own, chains } = splitByAddress([...rules.slice(0, count), toWide], by, sizes)
  return { rules: own, chains: [...chains, ...chainOf('nat', 'PVENAT-EG-REST', wide), ...ports.chains] }
}

function sourceTarget({ exempt, to }: Egress): Target {
  if (exempt) return { kind: 'exempt' }
  if (!to) return { kind: 'masquerade' }
  return { kind: to.lo === to.hi ? 'snat' : 'netmap', to }
}

/** Exemptions before translations; the first that holds for a packet counts. */
export function inOrder(egresses: readonly Egress[]): Egress[] {
  return [...egresses.filter(({ exempt }) => exempt), ...egresses.filter(({ exempt }) => !exempt)]
}

function translations(egresses: readonly Egress[]): Rule[] {
  return egresses.flatMap((egress) => {
    const { source, destination, out, exempt, rule } = egress
    const target = sourceTarget(egress)
    const anywhere = { ...packets(egress), ...matches(source, destination), target, serves: rule.id }
    // An exemption holds at every interface: rules of others are not confined to external ones.
    if (exempt && rule.askedInterface === undefined && !egress.via) return [anywhere]
    return out.map((name) => ({ ...anywhere, out: name }))
  })
}
