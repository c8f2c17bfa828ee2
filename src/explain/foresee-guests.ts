/** What the files of a guest tell before any packet comes: its firewall refuses it, its NIC is unplugged, or its answers go past this node. */
import { addressKey, contains, formatRange, type Range } from '../address.ts'
import { pastNode, withSetting } from '../checks/gateway.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { withOption } from '../facts/fixes.ts'
import type { FwFile, FwRule } from '../fw/fw-file.ts'
import { hasNoGateway, label, type Plugged } from '../guest/guest.ts'
import type { Egress, Forward, Match, NatRule } from '../nat/nat-rule.ts'
import { holds } from '../nat/sources.ts'
import type { View } from '../nat/view.ts'
import { keptOut } from './pvefirewall.ts'

interface Located extends Plugged {
  ip: Range
  /** Directions in which a rule of its file drops or rejects. */
  refuses: ReadonlySet<string>
}

/** By address. */
export type Guests = ReadonlyMap<string, Located>

/** One diagnostic of a kind for a rule, of the first forward or egress that has it. */
export function ofGuests(view: View, guests: Guests, rule: NatRule): Diagnostic[] {
  // The way back of full=1 is told with its way in.
  const egresses = rule.forwards.length > 0 ? [] : rule.egresses.filter(({ exempt }) => !exempt)
  const forwards = rule.kind === 'exempt' ? [] : rule.forwards
  return [
    ...first(forwards, (one) => guestDrops(view, guests, one)),
    ...first(egresses, (one) => guestHolds(view, guests, one)),
    ...first(forwards, (one) => cutOff(guests.get(addressKey(one.inner)), rule)),
    ...first(egresses, (one) => cutOff(onlyGuest(guests, one), rule)),
    ...first(forwards, (one) => answersElsewhere(view, guests, one)),
    ...first(egresses, (one) => leavesElsewhere(view, guests, one)),
  ]
}

export function first<T>(all: readonly T[], find: (one: T) => Diagnostic | undefined): Diagnostic[] {
  for (const one of all) {
    const found = find(one)
    if (found) return [found]
  }
  return []
}

export function pluggedGuests({ guests, known, cluster }: View): Guests {
  return new Map(
    guests.flatMap((owned) => {
      const refuses = refusalsOf(owned.fw, cluster.groups)
      return owned.guest.nics.flatMap((nic) =>
        Object.values(known.get(owned.guest.vmid)?.nics.get(nic.index) ?? {}).map(
          ({ ip }) => [addressKey(ip), { ...owned, nic, ip, refuses }] as const,
        ),
      )
    }),
  )
}

/** What a guest sees of the clients: the node's address with snat=1. */
function seenClients({ network }: View, { inner, snat, source }: Forward): Match {
  const own = network.internal.find((one) => contains(one.network, inner))?.address
  return snat && own ? { ranges: [own] } : source
}

/** A rule of the guest's own lets in itself, unless another one above it refuses; one of the datacenter or the node never does. */
function guestDrops(view: View, guests: Guests, forward: Forward): Diagnostic | undefined {
  const { family, proto, inner, innerPort, ports, rule, full, snat, accept, source } = forward
  const isOwn = rule.scope.kind === 'guest' && !(snat && source.ranges !== 'any')
  if (full || (accept && (isOwn || view.firewall === 'iptables'))) return undefined
  const guest = guests.get(addressKey(inner))
  if (!guest || (isOwn && !guest.refuses.has('in'))) return undefined
  const dport = innerPort ?? ports?.[0]
  const asked = { family, proto, destination: inner, dport, clients: seenClients(view, forward) }
  const refused = keptOut(view, guest, 'in', asked)
  if (!refused) return undefined
  const port = dport === undefined ? proto : `port ${dport}/${proto}`
  const { by, restsOn: at, command } = refused
  const what = `${label(guest.guest)} does not let ${port} in`
  return diagnose('guest-drops', rule.place, { what, by, at, command })
}

/** An OUT rule for guests whose firewalls all refuse it. */
function guestHolds(view: View, guests: Guests, egress: Egress): Diagnostic | undefined {
  const { family, proto = 'all', ports, source, destination, rule } = egress
  const isOwn = rule.scope.kind === 'guest'
  const own = only(source)
  const senders =
    isOwn || own?.lo === own?.hi
      ? [onlyGuest(guests, egress)]
      : [...guests.values()].filter(({ ip }) => ip.family === family && holds(source, ip))
  const asked = { family, proto, destination: only(destination), dport: ports?.[0], clients: source }
  const refusals = senders.map((one) =>
    one && (!isOwn || one.refuses.has('out'))
      ? keptOut(view, one, 'out', { ...asked, clients: { ranges: [one.ip] } })
      : undefined,
  )
  const [[sender], [refused]] = [senders, refusals]
  if (!sender || !refused || refusals.includes(undefined)) return undefined
  const { by, restsOn: at, command } = refused
  const what = `${label(sender.guest)} does not let out what this rule translates`
  return diagnose('guest-drops', rule.place, { what, by, at, command })
}

/** The guest from which alone a rule lets something out. */
function onlyGuest(guests: Guests, { source }: Egress): Located | undefined {
  const range = only(source)
  return range && range.lo === range.hi ? guests.get(addressKey(range)) : undefined
}

export function only({ ranges }: Match): Range | undefined {
  return ranges !== 'any' && ranges.length === 1 ? ranges[0] : undefined
}

/** A guest that its config keeps off its bridge. A template never runs, and its rules are for its clones. */
function cutOff(plugged: Plugged | undefined, { place }: NatRule): Diagnostic | undefined {
  if (!plugged?.nic.isDisconnected) return undefined
  const { guest, nic } = plugged
  return diagnose('guest-cut', place, {
    what: `net${nic.index} of guest ${label(guest)} is disconnected, so nothing passes there`,
    help: `clear Disconnect at net${nic.index} of the guest (link_down=0)`,
  })
}

interface Way {
  plugged: Plugged
  sentence: string
  /** It has no gateway at all. */
  isNone: boolean
}

/** The guest that has an address, and how it sends past this node, or that it has no gateway. */
function wayAround(view: View, guests: Guests, address: Range, does: 'sends' | 'answers'): Way | undefined {
  const plugged = address.lo === address.hi ? guests.get(addressKey(address)) : undefined
  if (!plugged || view.network.own.length === 0) return undefined
  const { guest } = plugged
  if (hasNoGateway(guest, address.family)) {
    const sentence = `guest ${label(guest)} has no gateway, so it sends nothing out of its own network`
    return { plugged, sentence, isNone: true }
  }
  const isGuests = (one: Range): boolean => guests.has(addressKey(one))
  const past = pastNode(view, isGuests, plugged, address.family, does)
  return past && { plugged, sentence: past.sentence, isNone: false }
}

function answersElsewhere(
  view: View,
  guests: Guests,
  { inner, snat, rule }: Forward,
): Diagnostic | undefined {
  const way = snat ? undefined : wayAround(view, guests, inner, 'answers')
  if (!way) return undefined
  const help = way.isNone
    ? ownGateway(view, way, inner)
    : `let it answer this node: ${withOption(rule.comment, 'snat=1')}${withSetting(view, [rule.scope])}`
  return diagnose('answers-elsewhere', rule.place, { what: way.sentence, help })
}

/** An OUT rule for single guests, none of which sends by this node. */
function leavesElsewhere(view: View, guests: Guests, { source, rule }: Egress): Diagnostic | undefined {
  if (source.ranges === 'any') return undefined
  const ways = source.ranges.map((range) => wayAround(view, guests, range, 'sends'))
  const [[range], [way]] = [source.ranges, ways]
  if (!range || !way || ways.includes(undefined)) return undefined
  return diagnose('answers-elsewhere', rule.place, { what: way.sentence, help: ownGateway(view, way, range) })
}

/** Makes this node the gateway of a guest at the NIC that has the address. */
function ownGateway({ network }: View, { plugged: { nic } }: Way, address: Range): string {
  const own = network.internal.find((one) => contains(one.network, address))?.address
  return `make this node its gateway, at net${nic.index} and at no other${own ? `: ${formatRange(own)}` : ''}`
}

/** The directions in which a rule of a guest's file, or of a group that it pulls in, drops or rejects. */
function refusalsOf({ rules }: FwFile, groups: FwFile['groups']): ReadonlySet<string> {
  const found = new Set<string>()
  const add = ({ enable, type, action }: FwRule): void => {
    if (enable === 1 && action !== 'ACCEPT') found.add(type)
  }
  for (const rule of rules)
    if (rule.type !== 'group') add(rule)
    else if (rule.enable === 1 && found.size < DIRECTIONS) groups.get(rule.action)?.rules.forEach(add)
  return found
}

/** In, out and forward. */
const DIRECTIONS = 3
