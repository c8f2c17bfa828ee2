/** Who may do what: a guest's rules stay with the guest, and nobody takes the node's own ports (spec: whoever may edit one guest's firewall must not gain power over the node or other guests). */
import { contains, formatRange, overlap, sameRange, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { label, type AddressSource, type Guest, type KnownAddresses } from '../guest/model.ts'
import { formatPorts, mergePorts, type PortRange } from '../ports.ts'
import type { GuestSettings, ReservedPort } from '../settings.ts'
import { knownAddresses, ownAddresses } from './own.ts'
import type { Socket } from './listeners.ts'
import type { Forward, NatRule, Scope } from './model.ts'
import type { View } from './view.ts'

/** What forbids a translated rule, if anything. */
export function forbidden(nat: NatRule, view: View): Diagnostic | undefined {
  const guest = nat.scope.kind === 'guest' ? nat.scope.guest : undefined
  for (const forward of nat.forwards) {
    const foreign = guest && foreignAddress([forward.inner], guest, view)
    if (foreign) return foreignTo(nat, foreign, guest, view)
    // An exemption claims nothing.
    if (nat.kind === 'exempt') continue
    const problem = (guest && guestForward(nat, forward, guest, view)) ?? reservedPort(nat, forward, view)
    if (problem) return problem
  }
  return guest && guestEgress(nat, guest, view)
}

/** What the settings say of the guest that a rule speaks for. */
export function grantedOf(scope: Scope, view: View): GuestSettings | undefined {
  return scope.kind === 'guest' ? view.settings.guests.get(scope.guest.vmid) : undefined
}

function guestForward(nat: NatRule, forward: Forward, guest: Guest, view: View): Diagnostic | undefined {
  const allowed = allowedPorts(nat.scope, view)
  const { ports } = forward
  if (ports && !mergePorts(allowed).some(([lo, hi]) => lo <= ports[0] && ports[1] <= hi)) {
    const facts = {
      ports: formatPorts([ports]),
      guest: label(guest),
      allowed: formatPorts(allowed),
      wish: nat.id,
    }
    return diagnose('port-forbidden', nat.where, facts)
  }
  return addressForbidden(nat, forward.external, guest, grantedOf(nat.scope, view)?.addresses)
}

function addressForbidden(
  nat: NatRule,
  used: readonly Range[],
  guest: Guest,
  allowed: readonly Range[] | undefined,
): Diagnostic | undefined {
  const other = allowed && used.find((one) => !allowed.some((address) => sameRange(address, one)))
  if (!other) return undefined
  const facts = { address: formatRange(other), guest: label(guest), allowed: listed(allowed) }
  return diagnose('address-forbidden', nat.whereAddress ?? nat.where, facts)
}

function guestEgress(nat: NatRule, guest: Guest, view: View): Diagnostic | undefined {
  const allowed = grantedOf(nat.scope, view)?.addresses
  for (const { source, to } of nat.egresses) {
    const problem = addressForbidden(nat, to ? [to] : [], guest, allowed)
    if (problem) return problem
    const foreign = source.ranges === 'any' ? 'any' : foreignAddress(source.ranges, guest, view)
    if (foreign) return foreignTo(nat, foreign, guest, view)
  }
  return undefined
}

function foreignTo(nat: NatRule, address: Range | 'any', guest: Guest, view: View): Diagnostic {
  return diagnose('guest-foreign', nat.whereInner ?? nat.where, {
    address: address === 'any' ? 'any address' : formatRange(address),
    guest: label(guest),
    own: listed(ownAddresses(guest, undefined, view)),
  })
}

function listed(addresses: readonly Range[]): string {
  return addresses.map(formatRange).join(', ')
}

/** Who wrote an address of these down for a guest gave it no others; leases and neighbours come and go. */
const WRITTEN: readonly AddressSource[] = ['settings', 'config', 'ipfilter', 'ipam']

/**
 * The first address that is not the guest's. Of a guest about which nothing is written down (static address set inside)
 * a typed address is believed as long as it is nobody else's; what leases and neighbours show may be only part of it.
 */
function foreignAddress(ranges: readonly Range[], guest: Guest, view: View): Range | undefined {
  const own = knownAddresses(guest, undefined, view)
  return ranges.find((range) => {
    if (own.some(({ ip }) => sameRange(ip, range))) return false
    const isWritten = own.some(({ ip, from }) => ip.family === range.family && WRITTEN.includes(from))
    return isWritten || !believable(range, guest, view)
  })
}

function believable(range: Range, guest: Guest, view: View): boolean {
  const isInternal = view.network.internal.some(
    ({ network, address }) => contains(network, range) && !overlap(address, range),
  )
  const isOthers = ([vmid, { seen }]: [number, KnownAddresses]): boolean =>
    vmid !== guest.vmid && seen.some((one) => overlap(one, range))
  return range.lo === range.hi && isInternal && ![...view.known].some(isOthers)
}

/** Cluster and host rules may take any port but these two. */
const NEVER: readonly ReservedPort[] = [
  { proto: 'tcp', ports: [22, 22], holder: 'ssh' },
  { proto: 'tcp', ports: [8006, 8006], holder: 'pveproxy' },
]

function reservedPort(
  rule: NatRule,
  { ports, proto, external }: Forward,
  { settings, listeners }: View,
): Diagnostic | undefined {
  if (!ports) return undefined
  const isGuest = rule.scope.kind === 'guest'
  if (!isGuest && settings.allowReserved) return undefined
  const reserved = (isGuest ? settings.reserved : NEVER).find(
    (one) => one.proto === proto && covers(one, ports),
  )
  const socket = isGuest
    ? listeners.find((one) => one.proto === proto && bound(one, ports, external))
    : undefined
  if (!reserved && !socket) return undefined
  const port = reserved ? Math.max(ports[0], reserved.ports[0]) : (socket?.port ?? 0)
  const holder = reserved?.holder ?? (socket?.holder || 'a service of this node')
  return diagnose('port-reserved', rule.where, { port: `${port}/${proto}`, holder, wish: rule.id })
}

/** The external ports that rules of a scope may name at all. */
export function allowedPorts(scope: Scope, view: View): PortRange[] {
  return scope.kind === 'guest' ? (grantedOf(scope, view)?.ports ?? view.settings.guestPorts) : [[1, 65535]]
}

/** The ports of a protocol that are the node's, for who looks for a free one. */
export function nodesPorts(proto: string, { settings, listeners }: View): PortRange[] {
  return [
    ...settings.reserved.filter((one) => one.proto === proto).map(({ ports }) => ports),
    ...listeners.filter((one) => one.proto === proto).map(({ port }): PortRange => [port, port]),
  ]
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
      ? grantedOf(scope, view)?.addresses?.some((one) => sameRange(one, address))
      : view.settings.allowReserved
  if (handedOver) return []
  if (isMain) {
    const help = `full=1 needs an external address that this node can spare; ${formatRange(address)} is its own`
    return diagnose('port-reserved', rule.where, { port: '22/tcp', holder: 'ssh', help })
  }
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
