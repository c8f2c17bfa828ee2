/** OUT rules → egress (masquerade, SNAT, exemptions); DROP and REJECT rules → blocks. */
import { FAMILIES, formatRange, intersects, isPrivate, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { isIcmpTypeName } from '../fw/icmptypes.ts'
import { label } from '../guest/guest.ts'
import type { PortRange } from '../ports.ts'
import { inwardTo } from '../network.ts'
import { canBeExternal, makeExternal, notExternal, outInterfaces, resolveExternal } from './external.ts'
import { fieldPlace, type Marked } from './marked.ts'
import { ANY_FAMILY, listOwner, matchOf, resolveAddresses, type Owner } from './match.ts'
import type { Block, Matches, Traffic } from './nat-rule.ts'
import type { Order } from './order.ts'
import { addressUnknown, inExternalNetwork, ownAddresses, sharedNetwork } from './guest-addresses.ts'
import { MATCHES_PORTS, PROTOCOLS, templates, type Template } from './template.ts'
import type { View } from './view.ts'

/** Fills `nat.egresses`; returns the diagnostics. */
export function translateEgress(order: Order): Diagnostic[] {
  const { nat, marked, comment } = order
  const external = resolveExternal(order)
  if ('code' in external) return [external]
  const via = resolveVia(order)
  if (via && 'code' in via) return [via]
  const flows = resolveFlows(order)
  if (!Array.isArray(flows)) return [flows]
  const to = comment.endpoint?.address
  if (to && !flows.some(({ family }) => family === to.family)) {
    const b = marked.rule.source ?? marked.rule.dest ?? 'the source'
    return [diagnose('family-mixed', comment.places.address ?? marked.place, { a: formatRange(to), b })]
  }
  for (const flow of flows) {
    const all = outInterfaces(external, flow.family)
    // By an uplink without the family nothing leaves, so nothing is translated there.
    const out = via ? via.filter((name) => all.includes(name)) : all
    if (all.length === 0 || (to && to.family !== flow.family)) continue
    const exempt = comment.endpoint?.kind === 'none'
    const egress = { ...flow, exempt, out, ...(via ? { via } : {}), rule: nat }
    nat.egresses.push(to ? { ...egress, to } : egress)
  }
  const left = publicSources(order).filter(({ family }) => outInterfaces(external, family).length > 0)
  const said = [...leadsInward(order, flows), ...leftOut(order, left)]
  if (nat.egresses.length > 0 || left.length > 0) return said
  const families = [...new Set(flows.map(({ family }) => `IPv${family}`))].join(' and ')
  const what = `interface for ${families || 'it'}`
  return [diagnose('external-none', marked.place, { what, help: makeExternal(order.view) })]
}

/** The uplinks that `via` names, in its order; undefined without it. */
function resolveVia(order: Order): string[] | Diagnostic | undefined {
  const { comment, view, nat } = order
  if (!comment.via) return undefined
  const where = comment.places.via ?? nat.place
  if (comment.if !== undefined || comment.endpoint?.address) {
    const reason = 'via= names the uplink; leave out if= and the address'
    return diagnose('option-conflict', where, { reason })
  }
  const names = comment.via.map((name) => view.network.links.get(name) ?? name)
  const problem = names.map((name) => notExternal(name, order, where)).find((one) => one)
  return problem ?? names
}

/** Fills `nat.blocks`: forwarded connections that begin in the source (OUT) or lead to the destination (IN). */
export function translateBlock(order: Order): Diagnostic[] {
  const { nat, marked } = order
  const flows = resolveFlows(order)
  if (!Array.isArray(flows)) return [flows]
  const external = resolveExternal(order)
  if ('code' in external) return [external]
  const action = marked.rule.action === 'REJECT' ? 'REJECT' : 'DROP'
  const direction = marked.rule.type === 'in' ? 'in' : 'out'
  const interfaces = external.interfaces.map(({ name }) => name)
  const through = nat.askedInterface === undefined ? {} : { interfaces }
  nat.blocks.push(...flows.map((flow): Block => ({ ...flow, ...through, action, direction, rule: nat })))
  return []
}

function resolveFlows(order: Order): Traffic[] | Diagnostic {
  const { marked, names, view } = order
  const { rule, place } = marked
  const source =
    rule.source === undefined
      ? ownSource(order)
      : resolveAddresses(rule.source, names, fieldPlace(marked, 'source'))
  if ('code' in source) return source
  const destination =
    rule.dest === undefined && rule.type === 'in'
      ? internalNetworks(view)
      : resolveAddresses(rule.dest, names, fieldPlace(marked, 'dest'))
  if ('code' in destination) return destination
  const isEgress = rule.action === 'ACCEPT' && marked.scope.kind !== 'guest'
  const sources = isEgress ? internalSources(source, view) : source
  const asked = FAMILIES.map((family) => ({ family, all: templates(rule, family, view.services) }))
  const all = asked.flatMap((one) => one.all)
  if (all.some(({ dports, sports }) => [...dports, ...sports].some(([lo]) => lo === 0)))
    return diagnose('ports-zero', place, {})
  const odd = asked.map((one) => unknownToIptables(one, marked)).find((one) => one)
  if (odd) return odd
  return asked.flatMap(({ family, all: ofFamily }) => {
    const from = sources[family]
    const to = destination[family]
    if (!from || !to) return []
    return ofFamily.flatMap(elements).map((rest) => ({ family, source: from, destination: to, ...rest }))
  })
}

/** The first template that no rule of iptables can match. */
function unknownToIptables(
  { family, all }: { family: Family; all: readonly Template[] },
  marked: Marked,
): Diagnostic | undefined {
  for (const { proto, dports, sports, icmpType } of all) {
    if (icmpType !== undefined && !isIcmpTypeName(icmpType, family)) {
      const place = fieldPlace(marked, marked.rule.dport === undefined ? 'icmp-type' : 'dport')
      const help = 'choose a type of that protocol by its name, for example: echo-request'
      return diagnose('unsupported', place, { what: `${proto} type '${icmpType}'`, help })
    }
    const place = fieldPlace(marked, 'proto')
    if (proto !== '' && !PROTOCOLS.has(proto)) {
      const help = 'clear the protocol: the rule then translates all of them'
      return diagnose('unsupported', place, { what: `protocol ${proto}`, help })
    }
    if (dports.length + sports.length > 0 && !MATCHES_PORTS.has(proto)) {
      const help = 'clear the ports: the rule then translates the whole protocol'
      return diagnose('unsupported', place, { what: `ports of protocol ${proto}`, help })
    }
  }
  return undefined
}

/** Guests with public addresses of their own are bridged past this node; a source of `any` does not include them. */
function internalSources(source: Matches, view: View): Matches {
  const internal = internalNetworks(view)
  return Object.fromEntries(
    FAMILIES.flatMap((family) => {
      const match = source[family]?.ranges === 'any' ? internal[family] : source[family]
      return match ? [[family, match]] : []
    }),
  )
}

/** One for each pair of port ranges. */
function elements({
  proto,
  dports,
  sports,
  icmpType,
}: Template): Omit<Traffic, 'family' | 'source' | 'destination'>[] {
  const any: (PortRange | undefined)[] = [undefined]
  return (dports.length > 0 ? dports : any).flatMap((dport) =>
    (sports.length > 0 ? sports : any).map((sport) => ({
      ...(proto === '' ? {} : { proto }),
      ...(dport ? { ports: dport } : {}),
      ...(sport ? { sport } : {}),
      ...(icmpType === undefined ? {} : { icmpType }),
    })),
  )
}

/** The source of a rule that names none: the addresses of the guest; for cluster and host all internal networks; for an IN block any. */
function ownSource(order: Order): Matches | Diagnostic {
  const { scope, rule, place, iface } = order.marked
  const { view } = order
  if (rule.type === 'in') return ANY_FAMILY
  const left = publicSources(order)
  const own = ownRanges(order).filter((range) => !left.includes(range))
  if (scope.kind !== 'guest') return byFamily(own, 'list')
  if (ownAddresses(scope.guest, iface, view).length === 0)
    return addressUnknown(scope.guest, iface, place, view)
  if (own.length + left.length === 0)
    return diagnose('guest-outside', place, {
      guest: label(scope.guest),
      network: sharedNetwork(ownAddresses(scope.guest, iface, view), view),
    })
  return byFamily(own, listOwner(scope))
}

/** The sources of a rule that names none. */
function ownRanges({ marked: { scope, iface }, view }: Order): Range[] {
  if (scope.kind !== 'guest') return view.network.internal.map(({ network }) => network)
  const own = ownAddresses(scope.guest, iface, view)
  return own.filter((address) => inExternalNetwork(address, view) === undefined)
}

/**
 * Public IPv6 sources that an OUT rule does not translate, because neither the rule nor the settings name them. Exemptions, blocks and rules
 * with an SNAT address include them.
 */
function publicSources(order: Order): Range[] {
  const { nat, marked, comment, view } = order
  const { settings } = view
  if (nat.kind !== 'egress' || marked.rule.source !== undefined) return []
  if (comment.endpoint?.address) return []
  const set = [...settings.guests.values()].flatMap(({ address }) => address ?? [])
  return ownRanges(order).filter(
    (range) =>
      range.family === 6 &&
      !isPrivate(range) &&
      !intersects([...settings.internal.networks, ...set], [range]),
  )
}

function leftOut({ marked: { place } }: Order, left: readonly Range[]): Diagnostic[] {
  if (left.length === 0) return []
  return [diagnose('source-public', place, { networks: left.map(formatRange).join(',') })]
}

/** Warns when the route to the destination (without one: to the internet) leads by an interface that is not external. */
function leadsInward({ nat, marked, view: { network } }: Order, flows: readonly Traffic[]): Diagnostic[] {
  if (nat.kind !== 'egress') return []
  const told = (destination: string, name: string): Diagnostic[] => [
    diagnose('leads-inward', fieldPlace(marked, 'dest'), {
      destination,
      name,
      canBe: canBeExternal(name, network),
    }),
  ]
  for (const { family, destination } of flows) {
    const way = network.way[family]
    if (destination.ranges === 'any') {
      const isOutside = network.external.some(({ name }) => name === way?.dev)
      if (way && !isOutside && nat.askedInterface === undefined) return told('the internet', way.dev)
      continue
    }
    for (const range of destination.ranges) {
      const route = inwardTo(network, range)
      if (route && route.dev !== '') return told(formatRange(range), route.dev)
    }
  }
  return []
}

function internalNetworks(view: View): Matches {
  return byFamily(
    view.network.internal.map(({ network }) => network),
    'list',
  )
}

function byFamily(ranges: readonly Range[], owner: Owner): Matches {
  return Object.fromEntries(
    FAMILIES.flatMap((family) => {
      const own = ranges.filter((range) => range.family === family)
      return own.length > 0 ? [[family, matchOf(own, owner)]] : []
    }),
  )
}
