/** IN rules → forwards. */
import { FAMILIES, formatRange, sameRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { formatPorts, type PortRange } from '../ports.ts'
import { partsOf } from './comment.ts'
import { makeExternal, resolveExternal, type External } from './external.ts'
import { translateFull, type Common } from './full.ts'
import { innerAddresses, type PerFamily } from './inner.ts'
import { fieldPlace, type Marked } from './marked.ts'
import { resolveAddresses } from './match.ts'
import type { Forward, Matches } from './nat-rule.ts'
import { translateNetwork } from './networks.ts'
import type { Order } from './order.ts'
import { describeInner, innerRanges, pairPorts, type PortPair } from './pairing.ts'
import { grantedOf } from './policy.ts'
import { renderComment } from './free-text.ts'
import { ICMP, ports, templates, WITH_PORTS, WITHOUT_PORTS, type Template } from './template.ts'

/**
 * Fills `nat.forwards` (and for full=1 `nat.egresses`) and returns the diagnostics. A rule that cannot be translated as written has no
 * forwards.
 */
export function translateForward(order: Order): Diagnostic[] {
  const { nat, marked, comment, names, view } = order
  const { rule, place } = marked
  const source = resolveAddresses(rule.source, names, fieldPlace(marked, 'source'))
  if ('code' in source) return [source]
  const external = resolveExternal(order)
  if ('code' in external) return [external]
  const network = comment.endpoint?.network
  if (network && comment.to) {
    const clients = source[network.family]
    if (clients) return translateNetwork(order, network, comment.to, clients, external)
    const facts = { a: marked.rule.source ?? '', b: formatRange(network) }
    return [diagnose('family-mixed', fieldPlace(marked, 'source'), facts)]
  }
  const inner = innerAddresses(order)
  if ('code' in inner) return [inner]
  const asked: Record<Family, Template[]> = {
    4: templates(rule, 4, view.services),
    6: templates(rule, 6, view.services),
  }
  const all = [...asked[4], ...asked[6]]
  if (!comment.full && all.length > 0 && !all.some(isForwardable))
    return all.slice(0, 1).map((template) => unforwardable(template, all, marked))
  const mixed = mixedFamilies(order, source, inner)
  if (mixed) return [mixed]
  const commons = perFamily(order, source, allowedAddresses(external, order), inner)
  const [first] = commons
  if (!first)
    return [diagnose('external-none', place, { what: missing(source, inner), help: makeExternal(view) })]
  if (comment.full) return translateFull(order, commons, external)
  const said = commons.flatMap((common) => addForwards(order, common, asked[common.family]))
  if (nat.forwards.length > 0 || said.length > 0) return said
  return [diagnose('unsupported', place, { what: `nothing of it applies to IPv${first.family}` })]
}

/** A `[guest N]` section may say which external addresses "any" means for a guest. */
function allowedAddresses({ addresses }: External, { nat, comment, view }: Order): Range[] {
  const allowed = grantedOf(nat.scope, view)?.addresses
  if (!allowed || comment.endpoint?.address) return addresses
  return addresses.filter((address) => allowed.some((one) => sameRange(one, address)))
}

function mixedFamilies(
  { marked, comment: { endpoint, places } }: Order,
  source: Matches,
  inner: PerFamily<Range>,
): Diagnostic | undefined {
  const families = FAMILIES.filter((family) => inner[family])
  const to = (): string => Object.values(inner).map(formatRange).join(', ')
  const address = endpoint?.address
  if (address && !families.includes(address.family)) {
    return diagnose('family-mixed', places.address ?? places.all, { a: formatRange(address), b: to() })
  }
  if (families.some((family) => source[family])) return undefined
  return diagnose('family-mixed', fieldPlace(marked, 'source'), { a: marked.rule.source ?? '', b: to() })
}

function perFamily(
  { nat, comment: { hairpin, snat } }: Order,
  source: Matches,
  addresses: readonly Range[],
  inner: PerFamily<Range>,
): Common[] {
  return FAMILIES.flatMap((family) => {
    const match = source[family]
    const to = inner[family]
    const external = addresses.filter((address) => address.family === family).slice()
    if (!match || !to || external.length === 0) return []
    const how = { hairpin, snat, full: false, accept: false }
    return [{ family, external, inner: to, source: match, ...how, except: [], rule: nat }]
  })
}

/** Which kind of external address would be needed. */
function missing(source: Matches, inner: PerFamily<Range>): string {
  const families = FAMILIES.filter((family) => source[family] && inner[family])
  return `${families.map((family) => `IPv${family}`).join(' or ')} address`
}

/** Returns the diagnostics, among them the reason when there are no forwards. */
function addForwards(order: Order, common: Common, all: readonly Template[]): Diagnostic[] {
  const { nat, marked, comment, view } = order
  const { rule } = marked
  const usable = all.filter(isForwardable)
  const said = all
    .filter((template) => !isForwardable(template))
    .map((template) => unforwardable(template, all, marked))
  const paired = pairedPorts(order, usable)
  if ('code' in paired) return [...said, paired]
  if (usable.length === 0) return said
  // The guest's firewall sees the node's address in place of the clients that the rule names.
  const hidesClients = comment.snat && rule.source !== undefined && nat.scope.kind === 'guest'
  const base = { ...common, accept: rule.sport !== undefined || hidesClients }
  if (rule.sport !== undefined && view.firewall === 'nftables') said.push(nftSport(marked))
  const forwards = paired.pairs.map((pair) => toForward(base, pair))
  nat.forwards.push(...paired.bare.map((proto) => ({ ...base, proto, single: false })), ...forwards)
  return [...said, ...shiftedHelper(order, forwards)]
}

interface Paired {
  /** Protocols without ports. */
  bare: string[]
  pairs: PortPair[]
}

/** What the pairing of ports depends on. */
type Pairing = Pick<Order, 'marked' | 'comment' | 'view' | 'given'>

/** Which external ports lead to which inner ones, by the rule and its comment alone. */
export function pairedPorts(order: Pairing, usable: readonly Template[]): Paired | Diagnostic {
  const { marked, comment } = order
  const { place } = marked
  const wanted = externalPorts(order, usable)
  if ('code' in wanted) return wanted
  const withPorts = usable.filter(({ proto }) => !WITHOUT_PORTS.has(proto))
  const bare = usable.filter(({ proto }) => WITHOUT_PORTS.has(proto)).map(({ proto }) => proto)
  const namesPorts = wanted.length > 0 || comment.endpoint?.kind === 'auto'
  if (withPorts.length === 0 && bare.length > 0 && namesPorts)
    return diagnose('proto-ports', comment.places.ports ?? place, { proto: bare[0] ?? '' })
  if (usable.some(({ dports }) => dports.some(([lo]) => lo === 0)))
    return diagnose('ports-zero', fieldPlace(marked, 'dport'), {})
  if (withPorts.length === 0) return { bare, pairs: [] }
  if (wanted.length === 0 && withPorts.some(({ dports }) => dports.length === 0))
    return diagnose('ports-missing', comment.places.all, {
      typed:
        comment.endpoint?.kind === 'none' ? undefined : renderComment({ ...partsOf(comment), ports: 'PORT' }),
    })
  const docker = outerAndInner(order, withPorts)
  if (docker) return docker
  const pairs = pairPorts(withoutOwnSport(withPorts, marked), wanted)
  if (pairs) return { bare, pairs }
  const facts = { external: formatPorts(wanted), inner: describeInner(withPorts) }
  return diagnose('ports-unpaired', comment.places.ports ?? place, facts)
}

/** `9000:9443` on a rule for port 9443: an outer and an inner port to docker, a range of 444 ports here. */
function outerAndInner({ comment }: Pairing, inner: readonly Template[]): Diagnostic | undefined {
  const { ports, colons = [] } = comment.endpoint ?? {}
  const ranges = inner.flatMap(({ dports }) => dports)
  const odd = colons.find(
    ([lo, hi]) =>
      lo < hi &&
      ranges.some(([from, to]) => from === hi && to === hi) &&
      ranges.every(([from, to]) => to - from !== hi - lo),
  )
  if (!odd || !ports) return undefined
  const outer = ports.map((range): PortRange => (range.join() === odd.join() ? [odd[0], odd[0]] : range))
  const meant = renderComment({ ...partsOf(comment), ports: formatPorts(outer) })
  const facts = { text: odd.join(':'), count: odd[1] - odd[0] + 1, meant }
  return diagnose('ports-docker', comment.places.ports ?? comment.places.all, facts)
}

/** Passive ports to propose; ten are enough for a few clients. */
const PASSIVE_PORTS = 10

/** The helpers for FTP and TFTP, which open further ports, work at the standard port only. */
function shiftedHelper({ nat, view }: Order, forwards: readonly Forward[]): Diagnostic[] {
  for (const { proto, ports, innerPort, single } of forwards) {
    const [helper, port] = proto === 'tcp' ? (['ftp', 21] as const) : (['tftp', 69] as const)
    if (!ports || innerPort === undefined || (proto !== 'tcp' && proto !== 'udp')) continue
    const width = single ? 0 : ports[1] - ports[0]
    const isMeant = innerPort <= port && port <= innerPort + width && (single || ports[0] !== innerPort)
    if (!isMeant || (single && ports[0] === port && ports[1] === port)) continue
    const isOn = String(view.host.options['nf_conntrack_helpers'] ?? '')
      .split(',')
      .includes(helper)
    // TFTP has no TLS: with the helper all of it passes.
    if (isOn && helper === 'tftp') continue
    const outer = single ? formatPorts([ports]) : String(ports[0] + port - innerPort)
    const command = isOn
      ? undefined
      : `pvesh set /nodes/${view.node}/firewall/options --nf_conntrack_helpers ${helper}`
    const passive = helper === 'ftp' ? { wish: nat.id, count: PASSIVE_PORTS } : {}
    const what = `${helper.toUpperCase()} opens connections at ports of its own; at external port ${outer} they pass only by the helper of connection tracking, ${isOn ? 'which does not see into TLS' : 'which is off'}`
    return [diagnose('helper-shifted', nat.where, { what, command, ...passive })]
  }
  return []
}

/** The accept that cures a -sport rule has no effect on the bridge table of proxmox-firewall. */
function nftSport(marked: Marked): Diagnostic {
  const { sport = '', dport = sport } = marked.rule
  return diagnose('nft-sport', fieldPlace(marked, 'sport'), { sport, dport })
}

function toForward(base: Common, { proto, external, inner, single, sport }: PortPair): Forward {
  const { family, source, hairpin, snat, full, except, accept, rule } = base
  // Each field by name: measured at 10,000 forwards, spread objects cost 6 MB more at rest and 200 ms more for an edit.
  const forward: Forward = {
    family,
    proto,
    external: base.external,
    ports: external,
    inner: base.inner,
    innerPort: inner,
    single,
    source,
    hairpin,
    snat,
    full,
    except,
    accept,
    rule,
  }
  return sport ? { ...forward, sport } : forward
}

/** The rule's own source port is the external port, not a condition; a macro's is one. */
function withoutOwnSport(list: readonly Template[], marked: Marked): Template[] {
  return marked.rule.sport === undefined ? [...list] : list.map((template) => ({ ...template, sports: [] }))
}

/** The external ports: given, of the comment, else the rule's source port; empty when none is named. */
function externalPorts(
  { marked, comment, view, given }: Pairing,
  usable: readonly Template[],
): readonly PortRange[] | Diagnostic {
  const own = ports(marked.rule.sport, view.services)
  const isAuto = comment.endpoint?.kind === 'auto'
  if (isAuto && own.length > 0) {
    const facts = { comment: 'auto', sport: formatPorts(own) }
    return diagnose('ports-twice', comment.places.endpoint ?? marked.place, facts)
  }
  if (isAuto) {
    const outer = innerRanges(usable).map((range) => given?.get(range.join()))
    return outer.filter((range) => range !== undefined)
  }
  const named = comment.endpoint?.ports
  if (own.some(([lo]) => lo === 0)) return diagnose('ports-zero', marked.place, {})
  if (named && own.length > 0 && formatPorts(named) !== formatPorts(own)) {
    const facts = { comment: formatPorts(named), sport: formatPorts(own) }
    return diagnose('ports-twice', comment.places.ports ?? marked.place, facts)
  }
  return named ?? own
}

export function isForwardable({ proto }: Template): boolean {
  return proto === '' || WITH_PORTS.has(proto) || WITHOUT_PORTS.has(proto)
}

/** Why a template makes no forward: a macro loses this part of it, a rule of its own is an error. */
function unforwardable({ proto }: Template, all: readonly Template[], marked: Marked): Diagnostic {
  const { macro } = marked.rule
  if (macro !== undefined && all.some((other) => WITH_PORTS.has(other.proto)))
    return diagnose('macro-part', marked.place, { proto, macro })
  const help = ICMP.has(proto)
    ? 'ICMP reaches a guest only with 1:1 NAT: NAT ADDRESS full=1'
    : 'forwards exist for tcp, udp, sctp, esp, ah, gre, ipip and 41'
  return diagnose('proto-unsupported', fieldPlace(marked, 'proto'), { proto, help })
}
