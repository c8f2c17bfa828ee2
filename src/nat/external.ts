/** The external addresses and interfaces that a rule means. */
import { contains, formatRange, isPrivate, parseIp, sameRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { inwardTo, type ExternalInterface, type Network } from '../network.ts'
import type { Scope } from './nat-rule.ts'
import { nearest } from '../nearest.ts'
import { renderComment } from './free-text.ts'
import { partsOf } from './comment.ts'
import type { Order } from './order.ts'
import type { View } from './view.ts'

export interface External {
  /** Interfaces that come into question. */
  interfaces: ExternalInterface[]
  /** The one address that the comment names, or all of the interfaces. */
  addresses: Range[]
}

/** Everything external that fits the address and the interface that the rule names. */
export function resolveExternal(order: Order): External | Diagnostic {
  const { nat, comment, marked, view } = order
  const { network } = view
  const { askedInterface: asked, place, scope } = nat
  const wanted = asked === undefined ? undefined : (network.links.get(asked) ?? asked)
  const interfaces = network.external.filter(({ name }) => wanted === undefined || name === wanted)
  const mayBeElsewhere = scope.kind === 'cluster' && view.isClustered
  const unknown = wanted === undefined ? undefined : notExternal(wanted, order, comment.places.if ?? place)
  if (unknown) return unknown
  const address = comment.endpoint?.address
  if (!address) return { interfaces, addresses: interfaces.flatMap(({ addresses }) => addresses) }
  const carriers = interfaces.filter(({ addresses }) => addresses.some((own) => sameRange(own, address)))
  if (carriers.length > 0) return { interfaces: carriers, addresses: [address] }
  if (liesElsewhere(address, scope, network)) return { interfaces, addresses: [address] }
  const mapped = order.named.networks.find((one) => contains(one, address))
  if (mapped && scope.kind === 'guest')
    return diagnose('network-held', comment.places.address ?? place, {
      what: `${formatRange(address)} lies in ${formatRange(mapped)}, which a rule of the datacenter or node maps to guests as a whole`,
      help: 'leave the address out of the comment, or have the administrator write this rule',
    })
  if (mapped) return { interfaces, addresses: [address] }
  const where = comment.places.address ?? place
  const text = formatRange(address)
  if (wanted !== undefined) return diagnose('interface-address', where, { name: wanted, address: text })
  if (mayBeElsewhere) return diagnose('elsewhere', where, { what: text })
  const have = network.external.flatMap(({ addresses }) => addresses.map(formatRange)).join(', ')
  return diagnose('external-unknown', where, {
    address: text,
    have,
    isGuests: scope.kind === 'guest',
    isIn: marked.rule.type === 'in',
    without: isBehindRouter(network, address)
      ? renderComment({ ...partsOf(comment), address: undefined })
      : undefined,
    meant: withPort(text, order),
  })
}

/** The comment that `2001:db8::2:8080` means where `2001:db8::2` is an external address: the port behind brackets. */
function withPort(text: string, { comment, view: { network } }: Order): string | undefined {
  const [, host = '', port] = /^(.*[^:]):(\d{1,4})$/.exec(text) ?? []
  const ip = parseIp(host)
  const isOwn = network.external.some(({ addresses }) => addresses.some((own) => ip && sameRange(own, ip)))
  return ip?.family === 6 && isOwn
    ? renderComment({ ...partsOf(comment), address: host, ports: port })
    : undefined
}

/** What makes an interface of this node external, where none is. */
export function makeExternal({ network, settings }: View): string {
  const { auto, names } = settings.external
  const unknown = auto ? [] : names.filter((name) => !network.links.has(name))
  if (unknown.length > 0)
    return `pvenat.conf names ${unknown.join(', ')}, and this node has no such interface; with external = auto those with a default route count`
  return 'give this node a default route, or name the interface in /etc/pvenat/pvenat.conf: external = +NAME'
}

/** Whether a public address may be that of a router which translates for this node: all that the node has are private. */
function isBehindRouter({ external }: Network, address: Range): boolean {
  const own = external.flatMap(({ addresses }) => addresses).filter(({ family }) => family === address.family)
  return own.length > 0 && own.every(isPrivate) && !isPrivate(address)
}

/** The reason why an interface is no external one of this node; undefined when it is one. */
export function notExternal(
  name: string,
  { nat, view: { network, isClustered } }: Order,
  where: Place,
): Diagnostic | undefined {
  const names = network.external.map((one) => one.name)
  if (names.includes(name)) return undefined
  const isHere = network.links.has(name)
  if (nat.scope.kind === 'cluster' && isClustered && !isHere)
    return diagnose('elsewhere', where, { what: name })
  return diagnose('interface-unknown', where, {
    name,
    have: names.join(', '),
    near: isHere ? undefined : nearest(name, names),
    isHere,
    canBe: canBeExternal(name, network),
  })
}

/**
 * Whether an address that no external interface carries can be called from outside: it lies on lo, a dummy or another bridge, or
 * it is of a subnet that is routed to this node. A guest's rule may use neither the latter nor the node's address in an internal network.
 */
function liesElsewhere(address: Range, { kind }: Scope, network: Network): boolean {
  if (network.external.some(({ addresses }) => addresses.some((own) => sameRange(own, address)))) return false
  const isOwn = network.own.some(({ ip }) => sameRange(ip, address))
  const isInside = network.internal.some(({ network: around }) => contains(around, address))
  if (kind === 'guest') return isOwn && !(isInside && isPrivate(address))
  return isOwn || inwardTo(network, address) !== undefined
}

/** Whether the administrator may make an interface external: it has an address, and no guest is plugged into it. */
export function canBeExternal(name: string, { own, internal }: Network): boolean {
  return own.some(({ dev }) => dev === name) && !internal.some(({ bridge }) => bridge === name)
}

/** The interfaces by which packets of a family leave. */
export function outInterfaces({ interfaces }: External, family: Family): string[] {
  return interfaces.filter(({ families }) => families.includes(family)).map(({ name }) => name)
}
