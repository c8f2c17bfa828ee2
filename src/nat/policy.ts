/** Who may do what: a guest's rules stay with the guest, and nobody takes the node's own ports (spec: whoever may edit one guest's firewall must not gain power over the node or other guests). */
import { contains, formatRange, intersects, overlap, sameRange, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { Guest } from '../guest/model.ts'
import type { ReservedPort } from '../settings.ts'
import type { PortRange } from './comment.ts'
import { label, ownAddresses, seenAddresses, writtenAddresses } from './inner.ts'
import type { Socket } from './listeners.ts'
import { mergePorts } from './incumbents.ts'
import type { Forward, NatRule } from './model.ts'
import { formatPorts } from './template.ts'
import type { View } from './view.ts'

/** What forbids a translated rule, if anything. */
export function forbidden(rule: NatRule, view: View): Diagnostic | undefined {
  const guest = rule.scope.kind === 'guest' ? rule.scope.guest : undefined
  for (const forward of rule.forwards) {
    const foreign = guest && foreignInner(rule, forward, guest, view)
    if (foreign) return foreign
    // An exemption claims nothing.
    if (rule.kind === 'exempt') continue
    const problem = (guest && guestForward(rule, forward, guest, view)) ?? reservedPort(rule, forward, view)
    if (problem) return problem
  }
  return guest && guestEgress(rule, guest, view)
}

function foreignInner(rule: NatRule, { inner }: Forward, guest: Guest, view: View): Diagnostic | undefined {
  const foreign = foreignAddress([inner], guest, view)
  if (!foreign) return undefined
  const facts = { address: formatRange(foreign), guest: label(guest), own: ownText(guest, view) }
  return diagnose('guest-foreign', rule.whereInner ?? rule.where, facts)
}

function guestForward(rule: NatRule, forward: Forward, guest: Guest, view: View): Diagnostic | undefined {
  const allowed = view.settings.guests.get(guest.vmid)?.ports ?? view.settings.guestPorts
  const { ports } = forward
  if (ports && !mergePorts(allowed).some(([lo, hi]) => lo <= ports[0] && ports[1] <= hi)) {
    const facts = { ports: formatPorts([ports]), guest: label(guest), allowed: formatPorts(allowed) }
    return diagnose('port-forbidden', rule.where, facts)
  }
  const addresses = view.settings.guests.get(guest.vmid)?.addresses
  const other =
    addresses && forward.external.find((one) => !addresses.some((address) => sameRange(address, one)))
  return other && addressForbidden(rule, other, guest, addresses)
}

function addressForbidden(
  rule: NatRule,
  address: Range,
  guest: Guest,
  allowed: readonly Range[],
): Diagnostic {
  const facts = {
    address: formatRange(address),
    guest: label(guest),
    allowed: allowed.map(formatRange).join(', '),
  }
  return diagnose('address-forbidden', rule.whereAddress ?? rule.where, facts)
}

function guestEgress(rule: NatRule, guest: Guest, view: View): Diagnostic | undefined {
  const addresses = view.settings.guests.get(guest.vmid)?.addresses
  for (const { source, to } of rule.egresses) {
    if (to && addresses && !addresses.some((one) => sameRange(one, to)))
      return addressForbidden(rule, to, guest, addresses)
    const foreign = source.ranges === 'any' ? undefined : foreignAddress(source.ranges, guest, view)
    if (source.ranges !== 'any' && !foreign) continue
    const address = foreign ? formatRange(foreign) : 'any address'
    return diagnose('guest-foreign', rule.whereInner ?? rule.where, {
      address,
      guest: label(guest),
      own: ownText(guest, view),
    })
  }
  return undefined
}

/**
 * The first address that is not the guest's. Of a guest about which nothing is written down (static address set inside)
 * a typed address is believed as long as it is nobody else's; what leases and neighbours show may be only part of it.
 */
function foreignAddress(ranges: readonly Range[], guest: Guest, view: View): Range | undefined {
  const own = ownAddresses(guest, undefined, view)
  const written = writtenAddresses(guest, view)
  return ranges.find((range) => {
    if (own.some((address) => sameRange(address, range))) return false
    return written.some(({ family }) => family === range.family) || !believable(range, guest, view)
  })
}

function believable(range: Range, guest: Guest, view: View): boolean {
  const others = view.guests.filter((other) => other.guest.vmid !== guest.vmid)
  return (
    range.lo === range.hi &&
    view.network.internal.some(
      ({ network, address }) => contains(network, range) && !overlap(address, range),
    ) &&
    !others.some((other) => intersects(seenAddresses(other.guest, view), [range]))
  )
}

function ownText(guest: Guest, view: View): string {
  return ownAddresses(guest, undefined, view).map(formatRange).join(', ')
}

/** Cluster and host rules may take any port but these two. */
const NEVER: readonly ReservedPort[] = [
  { proto: 'tcp', ports: [22, 22], holder: 'ssh' },
  { proto: 'tcp', ports: [8006, 8006], holder: 'pveproxy' },
]

function reservedPort(
  rule: NatRule,
  { ports, proto, external }: Forward,
  view: View,
): Diagnostic | undefined {
  if (!ports) return undefined
  const isGuest = rule.scope.kind === 'guest'
  if (!isGuest && view.settings.allowReserved) return undefined
  const reserved = (isGuest ? view.settings.reserved : NEVER).find(
    (one) => one.proto === proto && covers(one, ports),
  )
  const socket = isGuest
    ? view.listeners.find((one) => one.proto === proto && bound(one, ports, external))
    : undefined
  if (!reserved && !socket) return undefined
  const port = reserved ? Math.max(ports[0], reserved.ports[0]) : (socket?.port ?? 0)
  const holder = reserved?.holder ?? (socket?.holder || 'a service of this node')
  return portReserved(rule, port, proto, holder)
}

function portReserved(rule: NatRule, port: number, proto: string, holder: string): Diagnostic {
  return diagnose('port-reserved', rule.where, { port: `${port}/${proto}`, holder, free: freePort(port) })
}

/**
 * The ports of an external address that full=1 leaves to the node: where its services listen (of a cluster or host rule, only
 * ssh and the GUI). The address by which the node is known is not to be had at all. Settings that name the address
 * for the guest hand it over whole.
 */
export function nodePorts(
  rule: NatRule,
  address: Range,
  isMain: boolean,
  view: View,
): Forward['except'] | Diagnostic {
  const { scope } = rule
  const handedOver =
    scope.kind === 'guest'
      ? view.settings.guests.get(scope.guest.vmid)?.addresses?.some((one) => sameRange(one, address))
      : view.settings.allowReserved
  if (handedOver) return []
  const [first] = NEVER
  if (isMain && first) return portReserved(rule, first.ports[0], first.proto, first.holder)
  const kept = view.listeners.filter(
    ({ proto, port, address: own }) =>
      (!own || sameRange(own, address)) &&
      (scope.kind === 'guest' || NEVER.some((one) => one.proto === proto && one.ports[0] === port)),
  )
  const ports = new Map(kept.map(({ proto, port }) => [`${proto}/${port}`, { proto, port }]))
  return [...ports.values()]
    .sort((a, b) => a.port - b.port)
    .map(({ proto, port }) => ({ proto, ports: [port, port], source: { ranges: 'any' } }))
}

/** Whether a service listens there: on the very address, or on all of them. */
function bound({ port, address }: Socket, [lo, hi]: PortRange, external: readonly Range[]): boolean {
  return lo <= port && port <= hi && (!address || external.some((one) => sameRange(one, address)))
}

function covers({ ports }: ReservedPort, [lo, hi]: PortRange): boolean {
  return ports[0] <= hi && lo <= ports[1]
}

/** 8006 → 18006, 60000 → 10000: a number that is easy to remember. */
function freePort(port: number): string {
  return String(port + 10000 <= 65535 ? port + 10000 : port - 50000)
}
