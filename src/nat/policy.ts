/** Permissions: rules of a guest concern this guest alone, and no rule takes the node's own ports. The owner of one guest must not gain power over the node or over other guests. */
import { addressKey, contains, formatRange, overlap, sameRange, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { objectionToTyped } from '../guest/evidence.ts'
import { label, type AddressSource, type Guest, type KnownAddresses } from '../guest/guest.ts'
import { formatPorts, meets, mergePorts, type PortRange } from '../ports.ts'
import type { GuestSettings, ReservedPort } from '../settings.ts'
import { countBlocks, freeBlock, ownBlock } from './port-blocks.ts'
import { inExternalNetwork, knownAddresses, ownAddresses } from './guest-addresses.ts'
import { ANY } from './match.ts'
import type { Forward, NatRule, Scope } from './nat-rule.ts'
import { serves } from './sockets.ts'
import { clockTime, type NodePort } from './node-ports.ts'
import type { View } from './view.ts'

/** The first reason why a translated rule is forbidden. */
export function forbidden(nat: NatRule, view: View): Diagnostic | undefined {
  const guest = nat.scope.kind === 'guest' ? nat.scope.guest : undefined
  for (const forward of nat.forwards) {
    const foreign = guest && foreignAddress([forward.inner], guest, view)
    if (foreign) return foreignTo(nat, foreign, guest, view)
    const snat = guest && snatForbidden(nat, forward, guest, view)
    if (snat) return snat
    // An exemption claims nothing.
    if (nat.kind === 'exempt') continue
    const problem = (guest && guestForward(nat, forward, guest, view)) ?? reservedPort(nat, forward, view)
    if (problem) return problem
  }
  return guest && guestEgress(nat, guest, view)
}

/** The settings of the guest whose rule it is. */
export function grantedOf(scope: Scope, view: View): GuestSettings | undefined {
  return scope.kind === 'guest' ? view.settings.guests.get(scope.guest.vmid) : undefined
}

function guestForward(nat: NatRule, forward: Forward, guest: Guest, view: View): Diagnostic | undefined {
  const allowed = allowedPorts(nat.scope, view)
  const { ports } = forward
  if (ports && !mergePorts(allowed).some(([lo, hi]) => lo <= ports[0] && ports[1] <= hi)) {
    const missing = blockMissing(nat.where, guest, view)
    if (missing) return missing
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

/** The setting that snat=1 in a rule of this scope needs; undefined when it needs none. */
export function snatNeeds(scope: Scope, view: View): string | undefined {
  if (scope.kind !== 'guest' || grantedOf(scope, view)?.snat === true) return undefined
  return `[guest ${scope.guest.vmid}] snat = yes`
}

/** Machines outside trust the node, and with snat=1 a guest speaks as the node. */
function snatForbidden(
  nat: NatRule,
  { snat, inner }: Forward,
  guest: Guest,
  view: View,
): Diagnostic | undefined {
  const granted = grantedOf(nat.scope, view)
  const isGiven = granted?.address !== undefined && sameRange(granted.address, inner)
  const lacks = [
    ...(snat && snatNeeds(nat.scope, view) !== undefined ? ['snat = yes'] : []),
    ...(inExternalNetwork(inner, view) !== undefined && !isGiven ? [`address = ${formatRange(inner)}`] : []),
  ]
  if (lacks.length === 0) return undefined
  const facts = {
    guest: label(guest),
    vmid: guest.vmid,
    lacks: lacks.join(' and '),
    address: formatRange(inner),
  }
  return diagnose('snat-forbidden', nat.where, facts)
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
  for (const { source, to, via = [] } of nat.egresses) {
    const barred = via.find((name) => !mayLeaveBy(name, nat.scope, view))
    if (barred !== undefined) return uplinkForbidden(nat, barred, guest, view)
    const problem = addressForbidden(nat, to ? [to] : [], guest, allowed)
    if (problem) return problem
    const foreign = source.ranges === 'any' ? 'any' : foreignAddress(source.ranges, guest, view)
    if (foreign) return foreignTo(nat, foreign, guest, view)
  }
  return undefined
}

/** Whether the settings let a rule of this scope choose an uplink. */
function mayLeaveBy(name: string, scope: Scope, view: View): boolean {
  const granted = grantedOf(scope, view)
  const choice = granted?.uplinks ?? view.settings.guestUplinks
  if (choice !== 'auto') return choice === 'all' || (choice !== 'none' && choice.includes(name))
  const own = view.network.external.find((one) => one.name === name)?.addresses ?? []
  const usable = granted?.addresses
  return usable ? own.some((address) => usable.some((one) => sameRange(one, address))) : own.length > 0
}

function uplinkForbidden(nat: NatRule, name: string, guest: Guest, view: View): Diagnostic {
  const allowed = view.network.external.filter((one) => mayLeaveBy(one.name, nat.scope, view))
  return diagnose('uplink-forbidden', nat.where, {
    name,
    guest: label(guest),
    allowed: allowed.map((one) => one.name).join(', '),
  })
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

/** Sources that name all addresses of a guest. Leases and neighbours come and go. */
const WRITTEN: readonly AddressSource[] = ['settings', 'config', 'ipfilter', 'ipam']

/**
 * The first address that is not the guest's. No source names the addresses of a guest with a static address that was set inside the guest;
 * for such a guest a typed address counts while it belongs to no other guest.
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
    ({ network, address }) => contains(network, range) && !(address && overlap(address, range)),
  )
  if (range.lo !== range.hi || !isInternal) return false
  const isOthers = ([vmid, { nics }]: [number, KnownAddresses]): boolean =>
    vmid !== guest.vmid &&
    [...nics.values()].some((known) => Object.values(known).some(({ ip }) => overlap(ip, range)))
  return (
    objectionToTyped(range, guest, view.evidence) === undefined &&
    (view.evidence.held.get(addressKey(range)) === guest.vmid || ![...view.known].some(isOthers))
  )
}

/** Ports that rules of the cluster and the node may not take either. */
const NEVER: readonly ReservedPort[] = [
  { proto: 'tcp', ports: [22, 22], holder: 'ssh' },
  { proto: 'tcp', ports: [8006, 8006], holder: 'pveproxy' },
]

function reservedPort(
  rule: NatRule,
  { ports, proto, external, inner }: Forward,
  { settings, nodePorts }: View,
): Diagnostic | undefined {
  const isGuest = rule.scope.kind === 'guest'
  if (!isGuest && settings.allowReserved) return undefined
  const reserved = (isGuest ? settings.reserved : NEVER).find(
    (one) => ports && one.proto === proto && meets(one.ports, ports),
  )
  if (reserved && ports) {
    const port = Math.max(ports[0], reserved.ports[0])
    return diagnose('port-reserved', rule.where, pickAnother(port, proto, reserved.holder, rule.id))
  }
  const own = isGuest ? nodePorts.filter((one) => isTakenBy(one, { ports, proto, external, inner })) : []
  const taken = own.find(({ until }) => until === undefined) ?? own[0]
  if (!taken) return undefined
  const { holder, until } = taken
  const port = taken.ports && ports ? Math.max(ports[0], taken.ports[0]) : undefined
  if (until !== undefined)
    return diagnose('port-kept', rule.where, { port: portName(port, proto), holder, until: clockTime(until) })
  const facts =
    port === undefined ? { port: proto, holder, help: HAND_OVER } : pickAnother(port, proto, holder, rule.id)
  return diagnose('port-reserved', rule.where, facts)
}

const HAND_OVER = 'rules of the datacenter or node firewall may use it'

function isTakenBy(
  port: NodePort,
  claim: Pick<Forward, 'proto' | 'external' | 'inner'> & { ports: PortRange | undefined },
): boolean {
  if (port.to && sameRange(port.to, claim.inner)) return false
  if (port.proto !== claim.proto || !claim.external.some((address) => serves(port, address))) return false
  return port.ports && claim.ports ? meets(port.ports, claim.ports) : !port.ports && !claim.ports
}

function pickAnother(port: number, proto: string, holder: string, wish: string): Facts {
  return { port: portName(port, proto), holder, wish }
}

function portName(port: number | undefined, proto: string): string {
  return port === undefined ? proto : `${port}/${proto}`
}

/** The external ports that rules of a scope may name at all. */
export function allowedPorts(scope: Scope, view: View): PortRange[] {
  if (scope.kind !== 'guest') return [[1, 65535]]
  const granted = grantedOf(scope, view)?.ports
  if (view.settings.guestBlock === 'none') return granted ?? view.settings.guestPorts
  const block = ownBlock(scope.guest.vmid, view.blocks)
  return [...(block ? [block] : []), ...(granted ?? [])]
}

/** Why a guest has no block of ports although the settings give each guest one. */
export function blockMissing(place: Place, guest: Guest, { settings, blocks }: View): Diagnostic | undefined {
  const { guestBlock } = settings
  const block = blocks.get(guest.vmid)
  if (guestBlock === 'none' || !block) return undefined
  const { index, ports, holder } = block
  const facts = { guest: label(guest), vmid: guest.vmid, free: freeBlock(blocks, guestBlock) }
  if (!ports) return diagnose('block-unknown', place, { ...facts, index, last: countBlocks(guestBlock) - 1 })
  if (holder === guest.vmid) return undefined
  return diagnose('block-taken', place, { ...facts, ports: formatPorts([ports]), holder })
}

/** The ports of a protocol that belong to the node. */
export function nodesPorts(proto: string, { settings, nodePorts }: View): PortRange[] {
  return [
    ...settings.reserved.filter((one) => one.proto === proto).map(({ ports }) => ports),
    ...nodePorts.flatMap((one) => (one.proto === proto && one.ports ? [one.ports] : [])),
  ]
}

interface Facts {
  port: string
  holder: string
  help?: string
  wish?: string
}

/**
 * The ports of an external address that full=1 leaves to the node: all ports of the node; for a rule of cluster.fw or host.fw only ssh and
 * the GUI. A guest may have the node's main address only with the setting `full = yes`; the node then also keeps the reserved ports and
 * ICMP. Settings that name the address for the guest hand it over whole.
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
  const mayHaveMain = scope.kind !== 'guest' || grantedOf(scope, view)?.full === true
  if (isMain && !mayHaveMain) {
    const help = `full=1 needs an external address that this node can spare; ${formatRange(address)} is its own`
    return diagnose('port-reserved', rule.where, { port: '22/tcp', holder: 'ssh', help })
  }
  const isAll = isMain || scope.kind === 'guest'
  const kept = view.nodePorts.filter(
    (one) => serves(one, address) && (isAll || NEVER.some((never) => isSamePort(one, never))),
  )
  const icmp = { proto: address.family === 4 ? 'icmp' : 'icmpv6', ports: undefined }
  const always = isMain ? [icmp, ...view.settings.reserved] : []
  const all = [...kept, ...always].map(({ proto, ports }) => ({ proto, ports, source: ANY }))
  const unique = new Map(all.map((one) => [`${one.proto} ${one.ports?.join('-')}`, one]))
  return [...unique.values()]
    .sort((a, b) => (a.ports?.[0] ?? 0) - (b.ports?.[0] ?? 0))
    .map(({ proto, ports, source }) => (ports ? { proto, ports, source } : { proto, source }))
}

function isSamePort({ proto, ports }: NodePort, never: ReservedPort): boolean {
  return proto === never.proto && ports?.[0] === never.ports[0] && ports[1] === never.ports[0]
}
