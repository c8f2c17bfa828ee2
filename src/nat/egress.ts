/** OUT rules → egress (masquerade, SNAT, exemptions); DROP and REJECT rules → blocks. */
import { FAMILIES, formatRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { isIcmpTypeName } from '../fw/icmptypes.ts'
import type { NatComment, PortRange } from './comment.ts'
import { outInterfaces, resolveExternal } from './external.ts'
import { addressUnknown, inExternalNetwork, label, ownAddresses } from './inner.ts'
import type { Marked } from './marked.ts'
import { listOwner, matchOf, resolveAddresses, type Owner, type Matches, type NameScope } from './match.ts'
import type { Block, Egress, Match, NatRule } from './model.ts'
import { ICMP, templates, WITH_PORTS, WITHOUT_PORTS } from './template.ts'
import type { View } from './view.ts'

/** Protocols whose packets can be told by iptables without further ado. */
const KNOWN = new Set([...WITH_PORTS, ...WITHOUT_PORTS, ...ICMP, 'udplite', 'dccp'])

type Report = (diagnostic: Diagnostic) => void

/** Source, destination, protocol and ports of one elementary OUT rule or block. */
interface Flow {
  family: Family
  source: Match
  destination: Match
  proto?: string
  ports?: PortRange
  sport?: PortRange
  icmpType?: string
}

/** Fills `rule.egresses`. */
export function translateEgress(
  rule: NatRule,
  marked: Marked,
  comment: NatComment,
  names: NameScope,
  view: View,
  report: Report,
): void {
  const iface = rule.scope.kind === 'guest' ? undefined : marked.iface
  const external = resolveExternal(comment, iface, view.network, marked)
  if ('code' in external) return report(external)
  const flows = resolveFlows(marked, names, view)
  if (!Array.isArray(flows)) return report(flows)
  const to = comment.endpoint?.address
  if (to && !flows.some(({ family }) => family === to.family)) {
    const b = marked.rule.source ?? marked.rule.dest ?? 'the source'
    return report(diagnose('family-mixed', comment.places.address ?? marked.place, { a: formatRange(to), b }))
  }
  const egresses = flows.flatMap((flow): Egress[] => {
    const out = outInterfaces(external, flow.family)
    if (out.length === 0 || (to && to.family !== flow.family)) return []
    const egress: Egress = { ...flow, exempt: comment.endpoint?.none ?? false, out, rule }
    return [to ? { ...egress, to } : egress]
  })
  if (egresses.length === 0) {
    const families = [...new Set(flows.map(({ family }) => `IPv${family}`))].join(' and ')
    return report(diagnose('external-none', marked.place, { what: `interface for ${families || 'it'}` }))
  }
  rule.egresses.push(...egresses)
}

/** Fills `rule.blocks`: forwarded connections that begin in the source (OUT) or lead to the destination (IN). */
export function translateBlock(
  rule: NatRule,
  marked: Marked,
  comment: NatComment,
  names: NameScope,
  view: View,
  report: Report,
): void {
  const flows = resolveFlows(marked, names, view)
  if (!Array.isArray(flows)) return report(flows)
  const wanted = comment.if ?? marked.iface
  const external = resolveExternal(comment, marked.iface, view.network, marked)
  if ('code' in external) return report(external)
  const action = marked.rule.action === 'REJECT' ? 'REJECT' : 'DROP'
  const direction = marked.rule.type === 'in' ? 'in' : 'out'
  const through = wanted === undefined ? {} : { interfaces: external.interfaces.map(({ name }) => name) }
  rule.blocks.push(...flows.map((flow): Block => ({ ...flow, ...through, action, direction, rule })))
}

function resolveFlows(marked: Marked, names: NameScope, view: View): Flow[] | Diagnostic {
  const { rule, place } = marked
  const at = (field: 'source' | 'dest' | 'proto'): Marked['place'] => ({
    file: place.file,
    span: rule.spans[field] ?? place.span,
  })
  const source =
    rule.source === undefined ? ownSource(marked, view) : resolveAddresses(rule.source, names, at('source'))
  if ('code' in source) return source
  const destination =
    rule.dest === undefined && rule.type === 'in'
      ? internalNetworks(view)
      : resolveAddresses(rule.dest, names, at('dest'))
  if ('code' in destination) return destination
  const isEgress = rule.action === 'ACCEPT' && marked.scope.kind !== 'guest'
  const sources = isEgress ? internalSources(source, view) : source
  const all = templates(rule, 4, view.services).concat(templates(rule, 6, view.services))
  if (all.some(({ dports, sports }) => [...dports, ...sports].some(([lo]) => lo === 0)))
    return diagnose('ports-zero', place, {})
  const odd = all.find(({ icmpType }) => icmpType !== undefined && !isIcmpTypeName(icmpType))
  if (odd) return diagnose('unsupported', place, { what: `icmp type '${odd.icmpType}'` })
  const foreign = all.find(({ proto }) => proto !== '' && !KNOWN.has(proto))
  if (foreign) return diagnose('unsupported', at('proto'), { what: `protocol ${foreign.proto}` })
  return FAMILIES.flatMap((family) => {
    const from = sources[family]
    const to = destination[family]
    if (!from || !to) return []
    return ports(marked, family, view).map((rest) => ({ family, source: from, destination: to, ...rest }))
  })
}

/** Guests with public addresses of their own are bridged past this node; a source of "anybody" must not mean them. */
function internalSources(source: Matches, view: View): Matches {
  const internal = internalNetworks(view)
  return Object.fromEntries(
    FAMILIES.flatMap((family) => {
      const match = source[family]?.ranges === 'any' ? internal[family] : source[family]
      return match ? [[family, match]] : []
    }),
  )
}

type PortFlow = Omit<Flow, 'family' | 'source' | 'destination'>

function ports(marked: Marked, family: Family, view: View): PortFlow[] {
  const any: (PortRange | undefined)[] = [undefined]
  return templates(marked.rule, family, view.services).flatMap(({ proto, dports, sports, icmpType }) =>
    (dports.length > 0 ? dports : any).flatMap((dport) =>
      (sports.length > 0 ? sports : any).map((sport) => ({
        ...(proto === '' ? {} : { proto }),
        ...(dport ? { ports: dport } : {}),
        ...(sport ? { sport } : {}),
        ...(icmpType === undefined ? {} : { icmpType }),
      })),
    ),
  )
}

/** A rule without source means the guest's addresses; of the cluster or host all internal networks; an IN block anybody. */
function ownSource(marked: Marked, view: View): Matches | Diagnostic {
  const { scope, rule, place } = marked
  if (rule.type === 'in') return { 4: { ranges: 'any' }, 6: { ranges: 'any' } }
  if (scope.kind !== 'guest') return internalNetworks(view)
  const own = ownAddresses(scope.guest, marked.iface, view)
  if (own.length === 0) return addressUnknown(scope.guest, marked.iface, place, view)
  const inside = own.filter((address) => inExternalNetwork(address, view) === undefined)
  if (inside.length === 0) return diagnose('guest-outside', place, { guest: label(scope.guest) })
  return byFamily(inside, listOwner(scope))
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
