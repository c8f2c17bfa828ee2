/** IN rules → forwards. */
import { FAMILIES, formatRange, sameRange, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import type { NatComment, PortRange } from './comment.ts'
import { resolveExternal, type External } from './external.ts'
import { translateFull, type Common } from './full.ts'
import { innerAddresses, type PerFamily } from './inner.ts'
import type { Marked } from './marked.ts'
import { resolveAddresses, type Matches, type NameScope } from './match.ts'
import type { Forward, NatRule } from './model.ts'
import { describeInner, pairPorts, type PortPair } from './pairing.ts'
import { formatPorts, ICMP, ports, templates, WITHOUT_PORTS, WITH_PORTS, type Template } from './template.ts'
import type { View } from './view.ts'

type Report = (diagnostic: Diagnostic) => void

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
  const sourcePlace = { file: marked.place.file, span: marked.rule.spans.source ?? marked.place.span }
  const source = resolveAddresses(marked.rule.source, names, sourcePlace)
  if ('code' in source) return report(source)
  const iface = rule.scope.kind === 'guest' ? undefined : marked.iface
  const external = resolveExternal(comment, iface, view.network, marked)
  if ('code' in external) return report(external)
  const inner = innerAddresses(marked, comment, names, view)
  if ('code' in inner) return report(inner)
  const hopeless = FAMILIES.flatMap((family) => templates(marked.rule, family, view.services))
  const [first] = hopeless
  if (first && !comment.full && hopeless.every(({ proto }) => !isForwardable(proto))) {
    forwardable(first, hopeless, marked, report)
    return
  }
  const mixed = mixedFamilies(source, inner, marked, comment, sourcePlace)
  if (mixed) return report(mixed)
  const commons = perFamily(rule, comment, source, allowedAddresses(external, rule, comment, view), inner)
  if (commons.length === 0)
    return report(diagnose('external-none', marked.place, { what: missing(source, inner) }))
  if (comment.full) return translateFull(rule, commons, marked, comment, external, view, report)
  const before = rule.forwards.length
  const said = commons.map((common) => addForwards(common, marked, comment, view, report))
  if (rule.forwards.length === before && !said.includes(true)) {
    report(
      diagnose('unsupported', marked.place, { what: `nothing of it applies to IPv${commons[0]?.family}` }),
    )
  }
}

/** A `[guest N]` section may say which external addresses "any" means for a guest. */
function allowedAddresses(
  { addresses }: External,
  { scope }: NatRule,
  comment: NatComment,
  view: View,
): Range[] {
  const allowed = scope.kind === 'guest' ? view.settings.guests.get(scope.guest.vmid)?.addresses : undefined
  if (!allowed || comment.endpoint?.address) return addresses
  return addresses.filter((address) => allowed.some((one) => sameRange(one, address)))
}

function mixedFamilies(
  source: Matches,
  inner: PerFamily<Range>,
  { rule }: Marked,
  { endpoint, places }: NatComment,
  sourcePlace: Place,
): Diagnostic | undefined {
  const families = FAMILIES.filter((family) => inner[family])
  const to = (): string => Object.values(inner).map(formatRange).join(', ')
  const address = endpoint?.address
  if (address && !families.includes(address.family)) {
    return diagnose('family-mixed', places.address ?? places.all, { a: formatRange(address), b: to() })
  }
  if (families.some((family) => source[family])) return undefined
  return diagnose('family-mixed', sourcePlace, { a: rule.source ?? '', b: to() })
}

function perFamily(
  rule: NatRule,
  comment: NatComment,
  source: Matches,
  addresses: readonly Range[],
  inner: PerFamily<Range>,
): Common[] {
  return FAMILIES.flatMap((family) => {
    const match = source[family]
    const to = inner[family]
    const external = addresses.filter((address) => address.family === family)
    if (!match || !to || external.length === 0) return []
    const { hairpin, snat } = comment
    return [
      {
        family,
        external,
        inner: to,
        source: match,
        hairpin,
        snat,
        full: false,
        except: [],
        accept: false,
        rule,
      },
    ]
  })
}

/** Which kind of external address would be needed. */
function missing(source: Matches, inner: PerFamily<Range>): string {
  const families = FAMILIES.filter((family) => source[family] && inner[family])
  return `${families.map((family) => `IPv${family}`).join(' or ')} address`
}

/** Whether something was said that explains why there are no forwards. */
function addForwards(
  common: Common,
  marked: Marked,
  comment: NatComment,
  view: View,
  report: Report,
): boolean {
  let said = false
  const say = (diagnostic: Diagnostic): boolean => {
    report(diagnostic)
    return (said = true)
  }
  const all = templates(marked.rule, common.family, view.services)
  const usable = all.filter((template) => forwardable(template, all, marked, say))
  const wanted = externalPorts(marked, comment, view, say)
  if (usable.length === 0 || !wanted) return said
  const base = { ...common, accept: marked.rule.sport !== undefined }
  if (base.accept && view.firewall === 'nftables') report(nftSport(marked))
  const withPorts = usable.filter(({ proto }) => !WITHOUT_PORTS.has(proto))
  const bare = usable.filter(({ proto }) => WITHOUT_PORTS.has(proto))
  if (withPorts.length === 0 && wanted.length > 0) {
    return say(diagnose('proto-ports', comment.places.ports ?? marked.place, { proto: bare[0]?.proto ?? '' }))
  }
  common.rule.forwards.push(...bare.map(({ proto }) => ({ ...base, proto, single: false })))
  if (withPorts.length === 0) return said
  if (withPorts.some(({ dports }) => dports.some(([lo]) => lo === 0)))
    return say(diagnose('ports-zero', portsPlace(marked), {}))
  if (wanted.length === 0 && withPorts.some(({ dports }) => dports.length === 0)) {
    return say(diagnose('ports-missing', comment.places.all, {}))
  }
  const pairs = pairPorts(withoutOwnSport(withPorts, marked), wanted)
  if (!pairs) {
    const facts = { external: formatPorts(wanted), inner: describeInner(withPorts) }
    return say(diagnose('ports-unpaired', comment.places.ports ?? marked.place, facts))
  }
  common.rule.forwards.push(...pairs.map((pair) => toForward(base, pair)))
  return said
}

/** The accept that cures a -sport rule has no effect on the bridge table of proxmox-firewall. */
function nftSport({ rule, place }: Marked): Diagnostic {
  const facts = { sport: rule.sport ?? '', dport: rule.dport ?? rule.sport ?? '' }
  return diagnose('nft-sport', { file: place.file, span: rule.spans.sport ?? place.span }, facts)
}

function toForward(base: Common, { proto, external, inner, single, sport }: PortPair): Forward {
  // A literal that begins with a spread has a hidden class of its own in V8, larger than itself; there are many of these.
  const forward: Forward = { proto, ports: external, innerPort: inner, single, ...base }
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

function isForwardable(proto: string): boolean {
  return proto === '' || WITH_PORTS.has(proto) || WITHOUT_PORTS.has(proto)
}

/** Whether NAT can forward a protocol; a macro loses the part that cannot, a rule of its own is an error. */
function forwardable(
  { proto }: Template,
  all: readonly Template[],
  marked: Marked,
  report: (diagnostic: Diagnostic) => void,
): boolean {
  if (isForwardable(proto)) return true
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
