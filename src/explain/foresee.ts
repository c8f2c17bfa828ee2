/** Rules by which no packet would get through, as explain would say when one is asked about: told before any comes. */
import { contains, formatRange, overlap, sameRange, type Family, type Range } from '../address.ts'
import { hiddenSockets, takesPorts } from '../checks/surroundings.ts'
import { diagnose, word, type Code, type Diagnostic } from '../diagnostic.ts'
import type { Nftables } from '../facts/nftables.ts'
import { ruleToMain, withOption } from '../facts/fixes.ts'
import type { Egress, Forward, NatRule } from '../nat/nat-rule.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import type { Network } from '../network.ts'
import { formatPorts, meets, mergePorts, takeOut, type PortRange } from '../ports.ts'
import type { Met } from './fields.ts'
import { first, ofGuests, only, pluggedGuests, type Guests } from './foresee-guests.ts'
import { letPass } from './let-pass.ts'
import { lossOf } from './others.ts'
import { notForwarded } from './pvefirewall.ts'

interface Foreseen {
  diagnostics: Diagnostic[]
  /** As in `Outcome`. */
  reasons: ReadonlyMap<string, string>
}

/** One diagnostic of a kind for each active rule. `filters`: of others, by family. */
export function foresee(
  view: View,
  translation: Translation,
  filters: Readonly<Record<Family, Nftables>>,
): Foreseen {
  const guests = pluggedGuests(view)
  const active = translation.rules.filter(({ state }) => state === 'active')
  const dead = active.map((rule) => ({ rule, said: deadBy(view, guests, rule, filters) }))
  const reasons = new Map(
    [...dead].reverse().flatMap(({ rule, said: [first] }) => (first ? [[rule.id, reasonOf(first)]] : [])),
  )
  for (const one of translation.diagnostics.filter(({ code }) => DEAD.includes(code)))
    for (const { id, place } of active)
      if (place.file === one.place.file && place.span.line === one.place.span.line)
        reasons.set(id, reasonOf(one))
  return {
    diagnostics: [...dead.flatMap(({ said }) => said), ...active.flatMap((rule) => hidden(view, rule))],
    reasons,
  }
}

/** What the translation finds of a rule by which nothing gets through. */
const DEAD: readonly Code[] = ['leads-inward', 'network-unanswered', 'nft-sport']

function reasonOf(diagnostic: Diagnostic): string {
  return word(diagnostic).message
}

/** Why no packet gets through by a rule. */
function deadBy(
  view: View,
  guests: Guests,
  rule: NatRule,
  filters: Readonly<Record<Family, Nftables>>,
): Diagnostic[] {
  const both = [...rule.forwards, ...rule.egresses]
  return [
    ...ofGuests(view, guests, rule),
    ...first(rule.forwards, (one) => forwardDrops(view, one)),
    ...first(rule.egresses, (one) => egressDrops(view, one)),
    ...first(rule.forwards, (one) => othersDrop(filters, rule, 'forwards', metByForward(view, one))),
    ...first(rule.egresses, (one) => othersDrop(filters, rule, 'lets out', metByEgress(view, one))),
    ...first(both, (one) => ledAway(view, one)),
    ...first(both, (one) => leadsNowhere(view, one)),
  ]
}

function egressDrops(view: View, egress: Egress): Diagnostic | undefined {
  const { family, proto = 'all', ports, source, exempt, rule } = egress
  if (exempt || rule.forwards.length > 0) return undefined
  const refused = notForwarded(view, { family, proto, dport: ports?.[0], clients: source })
  return refused && diagnose('forward-drops', rule.place, { ...refused, what: '', at: refused.restsOn })
}

function forwardDrops(view: View, forward: Forward): Diagnostic | undefined {
  const { family, proto, inner, innerPort, ports, rule, source } = forward
  if (rule.kind === 'exempt') return undefined
  const dport = innerPort ?? ports?.[0]
  const refused = notForwarded(view, { family, proto, destination: inner, dport, clients: source })
  return refused && diagnose('forward-drops', rule.place, { ...refused, what: '', at: refused.restsOn })
}

/** The packets of a forward, as they come and where FORWARD meets them: one for each address and interface by which they may come. */
function metByForward({ network }: View, forward: Forward): Way[] {
  const { family, proto, inner, innerPort, ports, rule, accept, source, external } = forward
  // Our accept comes before FORWARD of its backend.
  if (rule.kind === 'exempt' || accept) return []
  const out = network.internal.find((one) => contains(one.network, inner))?.bridge
  const dport = onlyPort(ports)
  const inside = dport === undefined ? undefined : (innerPort ?? dport)
  const met = { family, proto, source: only(source) }
  return external.flatMap((destination) => {
    const carriers = network.external.filter(({ addresses }) =>
      addresses.some((one) => sameRange(one, destination)),
    )
    return (carriers.length > 0 ? carriers : network.external).map(({ name }) => ({
      arriving: { ...met, in: name, destination, dport, dnat: false },
      routed: { ...met, in: name, destination: inner, dport: inside, out, dnat: true },
    }))
  })
}

/** A packet before its destination is translated, where that is done, and behind routing. */
interface Way {
  arriving?: Met
  routed: Met
}

function onlyPort(ports: PortRange | undefined): number | undefined {
  return ports && ports[0] === ports[1] ? ports[0] : undefined
}

/** The packets that a rule lets out, one for each interface by which they leave. */
function metByEgress({ network }: View, egress: Egress): Way[] {
  const { family, proto = 'all', ports, exempt, rule, out } = egress
  const [source, destination] = [only(egress.source), only(egress.destination)]
  if (exempt || rule.forwards.length > 0 || !source) return []
  const from = network.internal.find((one) => contains(one.network, source))?.bridge
  const met = { family, proto, source, destination, dport: onlyPort(ports), in: from, dnat: false }
  return out.map((name) => ({ routed: { ...met, out: name } }))
}

/** Filters of others that drop all of these packets. */
function othersDrop(
  filters: Readonly<Record<Family, Nftables>>,
  rule: NatRule,
  verb: string,
  ways: readonly Way[],
): Diagnostic | undefined {
  const losses = ways.flatMap(
    ({ arriving, routed }) => lossOf(filters[routed.family], arriving, routed) ?? [],
  )
  const [loss] = losses
  if (!loss || losses.length < ways.length) return undefined
  const { commands, instead = '' } = letPass(loss.chain, loss.met)
  const does = loss.verdict === 'untracked' ? 'keeps from connection tracking' : 'drops'
  const what = `${does} ${loss.met.isAnswer ? 'the answers to ' : ''}what this rule ${verb}`
  return diagnose('foreign-drops', rule.place, { what, place: loss.place, commands, instead })
}

/** Packets to guests whom routing rules of others keep from them: those of forwards, and answers to what goes out. */
function ledAway({ network }: View, one: Forward | Egress): Diagnostic | undefined {
  if (one.rule.kind === 'exempt') return undefined
  const { ranges } = 'inner' in one ? { ranges: [one.inner] } : one.source
  const taken = network.taken.find(
    ({ to }) => ranges !== 'any' && ranges.some((range) => contains(to, range)),
  )
  if (!taken) return undefined
  return diagnose('foreign-drops', one.rule.place, {
    what: `leads packets to ${formatRange(taken.to)} away by ${taken.dev}`,
    place: 'ip rule show',
    commands: [ruleToMain(network, taken.to)],
    instead: '',
  })
}

/** A forward to an address, or an OUT rule for addresses, of which this node knows nothing but its default route. */
function leadsNowhere(view: View, one: Forward | Egress): Diagnostic | undefined {
  const { network, elsewhere, isClustered } = view
  const { rule, family } = one
  const isForward = 'inner' in one
  const ranges = isForward ? [one.inner] : one.source.ranges
  const known = [...insideOf(network), ...(isForward ? [] : network.outward)]
  if (rule.kind === 'exempt' || (isForward ? one.snat : one.exempt || rule.forwards.length > 0))
    return undefined
  if (ranges === 'any' || ranges.length > MAX_JUDGED) return undefined
  if (ranges.some((range) => known.some((own) => overlap(own, range)))) return undefined
  // Routing rules of others may lead there, and other nodes may have what a rule of the datacenter means.
  if (network.own.length === 0 || (network.foreign?.[family].rules.length ?? 0) > 0) return undefined
  if (rule.scope.kind === 'cluster' && isClustered) {
    const isOfOthers = elsewhere.some(({ guest }) =>
      guest.nics.some(({ addresses }) => ranges.some((range) => overlaps(range, addresses[family]?.ip))),
    )
    if (!isForward || isOfOthers) return undefined
  }
  const inside = network.internal.map((own) => own.network).filter((own) => own.family === family)
  return diagnose('leads-nowhere', rule.place, {
    to: ranges.map(formatRange).join(', '),
    meant: isForward ? withOption(rule.comment, 'snat=1') : undefined,
    inside: [...new Set(inside.map(formatRange))].join(', '),
  })
}

/** A list of more addresses than this is not judged. */
const MAX_JUDGED = 8

function overlaps(range: Range, ip: Range | undefined): boolean {
  return ip !== undefined && overlap(range, ip)
}

/** What is on an interface of this node, or where a route of its own leads by one that is not external. */
function insideOf({ internal, strangers, external, inward }: Network): Range[] {
  return [
    ...[...internal, ...strangers].map(({ network }) => network),
    ...external.flatMap(({ networks }) => networks),
    ...inward.flatMap(({ to, dev }) => (dev === '' ? [] : [to])),
  ]
}

/** Services that do not listen all the time: those of a cluster, and those that a GUI or a migration starts. */
const SOMETIMES = ['corosync', 'live migration', 'VNC console']

/** What of this node a rule of the administrator hides from the outside; a guest's rule is refused instead. */
function hidden(view: View, rule: NatRule): Diagnostic[] {
  if (rule.scope.kind === 'guest' || rule.kind !== 'forward') return []
  const forwards = rule.forwards.filter(takesPorts)
  const listening = hiddenSockets(view, rule).map(({ proto, port, holder }) => ({
    proto,
    ports: [port, port] as const,
    holder: holder || 'a service',
  }))
  const sometimes = view.settings.reserved.filter(
    (one) =>
      SOMETIMES.includes(one.holder) &&
      (view.isClustered || one.holder !== 'corosync') &&
      forwards.some(({ proto, ports }) => one.proto === proto && meets(one.ports, ports)),
  )
  const services = new Map(
    [...listening, ...sometimes].map((one) => [`${formatPorts([one.ports])}/${one.proto}`, one]),
  )
  if (services.size === 0) return []
  const left = mergePorts(forwards.map(({ ports }) => ports))
  for (const { ports } of services.values()) takeOut(left, ports)
  const port = [...services.keys()].slice(0, MAX_NAMED).join(', ')
  const holder = [...new Set([...services.values()].map((one) => one.holder))].slice(0, MAX_NAMED).join(', ')
  const help = left.length > 0 ? `leave it to the node: NAT ${formatPorts(left)}` : 'pick another port'
  const what = `${holder} of this node is no longer reached at port ${port}, which this rule forwards`
  return [diagnose('service-hidden', rule.where, { what, help })]
}

const MAX_NAMED = 4
