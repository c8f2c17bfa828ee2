/**
 * `NAT NETWORK full=1 to=NETWORK` maps an external network to an internal network of the same size: packets to an external address go to the
 * internal address at the same position, and packets of that guest leave with the external address. An external address is left out if another
 * rule of the datacenter or node names it, or if its internal counterpart is an address of the node.
 */
import { addressKey, contains, formatRange, mappedInto, overlap, sameRange, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { inwardTo } from '../network.ts'
import { makeExternal, outInterfaces, type External } from './external.ts'
import { ANY, matchWithout } from './match.ts'
import type { Clients } from './nat-rule.ts'
import type { Order } from './order.ts'

/** Fills `nat.forwards` and `nat.egresses`; returns what there is to say. `source`: the clients, of the family. */
export function translateNetwork(
  order: Order,
  outer: Range,
  inner: Range,
  source: Clients,
  external: External,
): Diagnostic[] {
  const { nat, comment, view } = order
  const { family } = outer
  const wrong = outerProblem(order, outer) ?? innerProblem(order, inner)
  if (wrong) return [wrong]
  const out = outInterfaces(external, family)
  if (out.length === 0) {
    const what = `interface for IPv${family}`
    return [diagnose('external-none', nat.place, { what, help: makeExternal(view) })]
  }
  const isOnLink = external.interfaces.some(({ networks }) => networks.some((one) => contains(one, outer)))
  const isRouted = inwardTo(view.network, outer) !== undefined
  if (nat.scope.kind === 'cluster' && view.isClustered && !isOnLink && !isRouted)
    return [diagnose('elsewhere', nat.where, { what: formatRange(outer) })]
  const named = eachOnce(order.named.addresses.filter((one) => contains(outer, one)))
  const isNamed = (outside: Range): boolean => named.some((one) => sameRange(one, outside))
  const own = eachOnce(view.network.own.map(({ ip }) => ip).filter((one) => contains(inner, one))).filter(
    (one) => !isNamed(mappedInto(outer, one)),
  )
  const left = [...named, ...own.map((one) => mappedInto(outer, one))]
  const guests = matchWithout(
    inner,
    left.map((one) => mappedInto(inner, one)),
  )
  const reasons = reasonsOf(named, own, outer)
  if (guests.ranges.length === 0) {
    const what = `no address of ${formatRange(outer)} is left to map: ${reasons}`
    return [diagnose('network-refused', nat.where, { what, help: 'switch this rule off' })]
  }
  const { hairpin, snat } = comment
  const except = left.map((at) => ({ proto: 'all', source: ANY, at }))
  const how = { hairpin, snat, single: false, full: true, except, accept: false }
  nat.forwards.push({ family, proto: 'all', external: [outer], inner, source, ...how, rule: nat })
  const back = { family, exempt: false, out, to: outer, rule: nat }
  nat.egresses.push({ ...back, source: guests, destination: ANY })
  const unanswered = isOnLink && !isRouted
  return [
    ...(unanswered
      ? [diagnose('network-unanswered', nat.where, { network: formatRange(outer), family })]
      : []),
    ...(left.length > 0
      ? [
          diagnose('network-left', nat.where, {
            what: `of ${formatRange(outer)} these addresses are left out: ${reasons}`,
          }),
        ]
      : []),
  ]
}

function eachOnce(addresses: readonly Range[]): Range[] {
  return [...new Map(addresses.map((one) => [addressKey(one), one])).values()]
}

/** Why addresses are left out, each with its reason. */
function reasonsOf(named: readonly Range[], own: readonly Range[], outer: Range): string {
  return [
    ...named.map((one) => `${formatRange(one)} (another rule names it)`),
    ...own.map((one) => `${formatRange(mappedInto(outer, one))} (${formatRange(one)} is this node's own)`),
  ].join(', ')
}

/** Why the external network cannot be given away. */
function outerProblem({ nat, marked: { rule }, view }: Order, outer: Range): Diagnostic | undefined {
  const { network } = view
  const wrong = (what: string, help: string): Diagnostic =>
    diagnose('network-refused', nat.where, { what, help })
  if (nat.scope.kind === 'guest')
    return wrong('a guest cannot map a network', 'write the rule into the datacenter or node firewall')
  if (rule.dest !== undefined || (rule.proto ?? rule.macro ?? rule.sport ?? rule.dport) !== undefined)
    return wrong(
      'a network is mapped with all its ports, to the network that to= names',
      'clear destination, protocol, ports and macro of the rule',
    )
  const text = formatRange(outer)
  const addresses = [...network.own.map(({ ip }) => ip), ...network.external.flatMap((one) => one.addresses)]
  const own = addresses.find((one) => contains(outer, one))
  if (own) return wrong(`${formatRange(own)}, an address of this node, lies in ${text}`, SMALLER)
  const gateway = network.nextHops.find((one) => contains(outer, one))
  if (gateway) return wrong(`${formatRange(gateway)}, a gateway of this node, lies in ${text}`, SMALLER)
  const inside = network.internal.find((one) => overlap(one.network, outer))
  if (inside) return wrong(`${text} is part of the internal network ${formatRange(inside.network)}`, OUTSIDE)
  return undefined
}

const SMALLER = 'name a smaller network without it, or several in a rule each'
const OUTSIDE = 'name the external network first, and the internal one with to='

function innerProblem({ nat, view }: Order, inner: Range): Diagnostic | undefined {
  const networks = view.network.internal.map((one) => one.network)
  if (networks.some((one) => contains(one, inner))) return undefined
  const what = `${formatRange(inner)} is no part of an internal network of this node`
  const have = networks.filter(({ family }) => family === inner.family).map(formatRange)
  const help =
    have.length > 0 ? `the internal networks are: ${have.join(', ')}` : 'make a bridge for it first'
  return diagnose('network-refused', nat.whereInner ?? nat.where, { what, help })
}
