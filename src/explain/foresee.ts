/** Rules by which no packet would get through, as explain would say when one is asked about: told before any comes. */
import { addressKey, contains, formatRange, sameRange, type Family, type Range } from '../address.ts'
import { pastNode, withSetting } from '../checks/gateway.ts'
import { hiddenSockets, takesPorts } from '../checks/surroundings.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { Nftables } from '../facts/nftables.ts'
import { ruleToMain, withOption } from '../facts/fixes.ts'
import { label, type Nic, type Plugged } from '../guest/guest.ts'
import type { Egress, Forward, Match, NatRule } from '../nat/nat-rule.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import { formatPorts, meets, mergePorts, takeOut, type PortRange } from '../ports.ts'
import type { Met } from './fields.ts'
import { letPass, lossOf } from './others.ts'
import { keptOut, notForwarded } from './pvefirewall.ts'

/** One diagnostic of a kind for each active rule. `filters`: of others, by family. */
export function foresee(
  view: View,
  { rules }: Translation,
  filters: Readonly<Record<Family, Nftables>>,
): Diagnostic[] {
  const guests = pluggedGuests(view)
  return rules
    .filter(({ state }) => state === 'active')
    .flatMap((rule) => [
      ...first(rule.forwards, (one) => guestDrops(view, guests, one)),
      ...first(rule.forwards, (one) => forwardDrops(view, one)),
      ...first(rule.egresses, (one) => {
        const { family, proto = 'all', ports, source, exempt } = one
        const refused =
          exempt || rule.forwards.length > 0
            ? undefined
            : notForwarded(view, { family, proto, dport: ports?.[0], clients: source })
        return refused && diagnose('forward-drops', rule.place, { ...refused, what: '', at: refused.restsOn })
      }),
      ...first(rule.forwards, (one) => othersDrop(filters, one.rule, 'forwards', metByForward(view, one))),
      ...first(rule.egresses, (one) => othersDrop(filters, one.rule, 'lets out', metByEgress(view, one))),
      ...first([...rule.forwards, ...rule.egresses], (one) => ledAway(view, one)),
      ...first(rule.forwards, (one) => answersElsewhere(view, guests, one)),
      ...first(rule.egresses, (one) => leavesElsewhere(view, guests, one)),
      ...hidden(view, rule),
    ])
}

function first<T>(all: readonly T[], find: (one: T) => Diagnostic | undefined): Diagnostic[] {
  for (const one of all) {
    const found = find(one)
    if (found) return [found]
  }
  return []
}

/** By address. */
function pluggedGuests({ guests, known }: View): ReadonlyMap<string, Plugged> {
  return new Map(
    guests.flatMap((owned) =>
      owned.guest.nics.flatMap((nic) =>
        Object.values(known.get(owned.guest.vmid)?.nics.get(nic.index) ?? {}).map(
          ({ ip }) => [addressKey(ip), { ...owned, nic }] as const,
        ),
      ),
    ),
  )
}

/** What a guest sees of the clients: the node's address with snat=1. */
function seenClients({ network }: View, { inner, snat, source }: Forward): Match {
  const own = network.internal.find((one) => contains(one.network, inner))?.address
  return snat && own ? { ranges: [own] } : source
}

/** A rule of the guest's own lets in itself; one of the datacenter or the node does not. */
function guestDrops(
  view: View,
  guests: ReadonlyMap<string, Plugged>,
  forward: Forward,
): Diagnostic | undefined {
  const { family, proto, inner, innerPort, ports, rule, full, snat, accept, source } = forward
  const isOwn = rule.scope.kind === 'guest' && !(snat && source.ranges !== 'any')
  if (full || isOwn || (accept && view.firewall === 'iptables') || rule.kind === 'exempt') return undefined
  const guest = guests.get(addressKey(inner))
  const dport = innerPort ?? ports?.[0]
  const clients = seenClients(view, forward)
  const refused = guest && keptOut(view, guest, { family, proto, destination: inner, dport, clients })
  if (!guest || !refused) return undefined
  const port = dport === undefined ? proto : `port ${dport}/${proto}`
  const { by, restsOn: at, command } = refused
  const what = `${label(guest.guest)} does not let ${port}`
  return diagnose('guest-drops', rule.place, { what, by, at, command })
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

function only({ ranges }: Match): Range | undefined {
  return ranges !== 'any' && ranges.length === 1 ? ranges[0] : undefined
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
  const what = `${does} what this rule ${verb}`
  return diagnose('foreign-drops', rule.place, { what, place: loss.place, commands, instead })
}

/** Packets to guests whom routing rules of others keep from them: those of forwards, and answers to what goes out. */
function ledAway({ network }: View, one: Forward | Egress): Diagnostic | undefined {
  if (one.rule.kind === 'exempt') return undefined
  const { ranges } = 'inner' in one ? { ranges: [one.inner] } : one.source
  const taken = network.taken?.find(
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

/** The guest that has an address, and how it sends past this node. */
function wayAround(
  view: View,
  guests: ReadonlyMap<string, Plugged>,
  address: Range,
  does: 'sends' | 'answers',
): { nic: Nic; sentence: string } | undefined {
  const plugged = address.lo === address.hi ? guests.get(addressKey(address)) : undefined
  if (!plugged) return undefined
  const isGuests = (one: Range): boolean => guests.has(addressKey(one))
  const past = pastNode(view, isGuests, plugged, address.family, does)
  return past && { nic: plugged.nic, sentence: past.sentence }
}

function answersElsewhere(
  view: View,
  guests: ReadonlyMap<string, Plugged>,
  { inner, snat, rule }: Forward,
): Diagnostic | undefined {
  const way = snat || rule.kind === 'exempt' ? undefined : wayAround(view, guests, inner, 'answers')
  if (!way) return undefined
  const help = `let it answer this node: ${withOption(rule.comment, 'snat=1')}${withSetting(view, [rule.scope])}`
  return diagnose('answers-elsewhere', rule.place, { what: way.sentence, help })
}

/** An OUT rule for single guests, none of which sends by this node. */
function leavesElsewhere(
  view: View,
  guests: ReadonlyMap<string, Plugged>,
  { source, exempt, rule }: Egress,
): Diagnostic | undefined {
  // The way back of full=1 is told with its way in.
  if (exempt || rule.forwards.length > 0 || source.ranges === 'any') return undefined
  const ways = source.ranges.map((range) => wayAround(view, guests, range, 'sends'))
  const [[range], [way]] = [source.ranges, ways]
  if (!range || !way || ways.includes(undefined)) return undefined
  const own = view.network.internal.find(({ network }) => contains(network, range))?.address
  const help = `make this node its gateway, at net${way.nic.index} and at no other${own ? `: ${formatRange(own)}` : ''}`
  return diagnose('answers-elsewhere', rule.place, { what: way.sentence, help })
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
