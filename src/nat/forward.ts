/** IN rules → forwards. */
import { FAMILIES, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { NatComment, PortRange } from './comment.ts'
import { outInterfaces, resolveExternal, type External } from './external.ts'
import { innerAddresses } from './inner.ts'
import type { Marked } from './marked.ts'
import { resolveAddresses, type Matches, type NameScope } from './match.ts'
import { ANY } from './match.ts'
import type { Egress, Forward, Match, NatRule } from './model.ts'
import { describeInner, pairPorts, type PortPair } from './pairing.ts'
import { formatPorts, ICMP, ports, templates, WITHOUT_PORTS, WITH_PORTS, type Template } from './template.ts'
import type { View } from './view.ts'

type Report = (diagnostic: Diagnostic) => void

/** What is common to all forwards of a rule in one family. */
interface Common {
  family: Family
  external: Range[]
  inner: Range
  source: Match
  rule: NatRule
}

/**
 * Fills `rule.forwards` (and for full=1 `rule.egresses`). Anything that cannot be translated as written is reported and
 * leaves the rule without forwards.
 */
export function translateForward(
  rule: NatRule,
  marked: Marked,
  comment: NatComment,
  names: NameScope,
  view: View,
  report: Report,
): void {
  const place = { file: marked.place.file, span: marked.rule.spans.source ?? marked.place.span }
  const source = resolveAddresses(marked.rule.source, names, place)
  if ('code' in source) return report(source)
  const iface = rule.scope.kind === 'guest' ? undefined : marked.iface
  const external = resolveExternal(comment, iface, view.network, marked)
  if ('code' in external) return report(external)
  const inner = innerAddresses(marked, comment, names, view)
  if ('code' in inner) return report(inner)
  const problem = checkOptions(marked, comment)
  if (problem) return report(problem)
  const commons = perFamily(rule, source, external, inner)
  if (commons.length === 0)
    return report(diagnose('external-none', marked.place, { what: missing(source, inner) }))
  for (const common of commons) {
    if (comment.full) addFull(common, comment, external)
    else addForwards(common, marked, comment, view, report)
  }
}

function perFamily(
  rule: NatRule,
  source: Matches,
  external: External,
  inner: Partial<Record<Family, Range>>,
): Common[] {
  return FAMILIES.flatMap((family) => {
    const match = source[family]
    const to = inner[family]
    const addresses = external.addresses.filter((address) => address.family === family)
    return match && to && addresses.length > 0
      ? [{ family, external: addresses, inner: to, source: match, rule }]
      : []
  })
}

/** Which kind of external address would be needed. */
function missing(source: Matches, inner: Partial<Record<Family, Range>>): string {
  const family = FAMILIES.find((one) => source[one] && inner[one])
  return family === undefined
    ? 'address of the family that source and destination have in common'
    : `IPv${family} address`
}

function checkOptions(marked: Marked, comment: NatComment): Diagnostic | undefined {
  const { full, all, endpoint } = comment.places
  if (!comment.full) return undefined
  const conflict = (reason: string): Diagnostic =>
    diagnose('option-conflict', full ?? endpoint ?? all, { reason })
  if (!comment.endpoint?.address) return conflict('full=1 needs the external address: NAT 203.0.113.7 full=1')
  if (comment.endpoint.ports) return conflict('full=1 forwards every port; write the address alone')
  const { proto, macro, sport, dport } = marked.rule
  if (proto ?? macro ?? sport ?? dport)
    return conflict('full=1 forwards everything; clear protocol, ports and macro of the rule')
  return undefined
}

function addFull(
  { family, external, inner, source, rule }: Common,
  comment: NatComment,
  { interfaces }: External,
): void {
  const { hairpin, snat } = comment
  rule.forwards.push({
    ...{
      family,
      proto: 'all',
      external,
      inner,
      single: false,
      source,
      hairpin,
      snat,
      full: true,
      accept: false,
      rule,
    },
  })
  const out = outInterfaces({ interfaces, addresses: external }, family)
  const egress: Egress = { family, exempt: false, source: { ranges: [inner] }, destination: ANY, out, rule }
  rule.egresses.push({ ...egress, to: external[0] as Range })
}

function addForwards(common: Common, marked: Marked, comment: NatComment, view: View, report: Report): void {
  const all = templates(marked.rule, common.family, view.services)
  const usable = all.filter((template) => forwardable(template, all, marked, report))
  const wanted = externalPorts(marked, comment, view, report)
  if (usable.length === 0 || !wanted) return
  const { rule } = common
  const base = {
    ...common,
    hairpin: comment.hairpin,
    snat: comment.snat,
    full: false,
    accept: marked.rule.sport !== undefined,
  }
  for (const { proto } of usable.filter((template) => WITHOUT_PORTS.has(template.proto))) {
    if (usable.length === 1 && wanted.length > 0) {
      return report(diagnose('proto-ports', comment.places.ports ?? marked.place, { proto }))
    }
    rule.forwards.push({ ...base, proto, single: false })
  }
  const withPorts = usable.filter(({ proto }) => !WITHOUT_PORTS.has(proto))
  if (withPorts.length === 0) return
  if (withPorts.some(({ dports }) => dports.some(([lo]) => lo === 0)))
    return report(diagnose('ports-zero', portsPlace(marked), {}))
  if (wanted.length === 0 && withPorts.some(({ dports }) => dports.length === 0)) {
    return report(diagnose('ports-missing', comment.places.all, {}))
  }
  const pairs = pairPorts(withoutOwnSport(withPorts, marked), wanted)
  if (!pairs) {
    const facts = { external: formatPorts(wanted), inner: describeInner(withPorts) }
    return report(diagnose('ports-unpaired', comment.places.ports ?? marked.place, facts))
  }
  rule.forwards.push(...pairs.map((pair) => toForward(base, pair)))
}

function toForward(
  base: Omit<Forward, 'proto' | 'single'>,
  { proto, external, inner, single, sport }: PortPair,
): Forward {
  const forward: Forward = { ...base, proto, ports: external, innerPort: inner, single }
  return sport ? { ...forward, sport } : forward
}

/** The rule's own source port is the external port, not a condition; a macro's is one. */
function withoutOwnSport(list: readonly Template[], marked: Marked): Template[] {
  return marked.rule.sport === undefined ? [...list] : list.map((template) => ({ ...template, sports: [] }))
}

function portsPlace({ place, rule }: Marked): Marked['place'] {
  return { file: place.file, span: rule.spans.dport ?? place.span }
}

/** The external ports: of the comment, else the rule's source port; empty when neither names any, undefined on conflict. */
function externalPorts(
  marked: Marked,
  comment: NatComment,
  view: View,
  report: Report,
): readonly PortRange[] | undefined {
  const own = ports(marked.rule.sport, view.services)
  const named = comment.endpoint?.ports
  if (own.some(([lo]) => lo === 0)) return void report(diagnose('ports-zero', marked.place, {}))
  if (named && own.length > 0 && formatPorts(named) !== formatPorts(own)) {
    const facts = { comment: formatPorts(named), sport: formatPorts(own) }
    return void report(diagnose('ports-twice', comment.places.ports ?? marked.place, facts))
  }
  return named ?? own
}

/** Whether NAT can forward a protocol; a macro loses the part that cannot, a rule of its own is an error. */
function forwardable({ proto }: Template, all: readonly Template[], marked: Marked, report: Report): boolean {
  if (proto === '' || WITH_PORTS.has(proto) || WITHOUT_PORTS.has(proto)) return true
  const { macro } = marked.rule
  if (macro !== undefined && all.some((other) => WITH_PORTS.has(other.proto))) {
    report(diagnose('macro-part', marked.place, { proto, macro }))
    return false
  }
  const place = { file: marked.place.file, span: marked.rule.spans.proto ?? marked.place.span }
  const help = ICMP.has(proto)
    ? 'ICMP reaches a guest only with 1:1 NAT: NAT 203.0.113.7 full=1'
    : 'forwards exist for tcp, udp, sctp, esp, ah, gre, ipip and 41'
  report(diagnose('proto-unsupported', place, { proto, help }))
  return false
}
