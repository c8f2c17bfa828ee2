/** Rules by hand that others stand before: the first rule of the nat table that translates a packet, or lets it pass, decides on it. */
import { contains, overlap, sameRange, type Range } from '../address.ts'
import { isInterface } from '../facts/foreign.ts'
import type { View } from '../nat/view.ts'
import { meets, type PortRange } from '../ports.ts'
import type { Written } from './foreign-rule.ts'

/** The first of `earlier` that leaves no packet to `written`; undefined when there is none. */
export function takesAllOf(written: Written, earlier: readonly Written[], view: View): Written | undefined {
  return earlier.find((one) => isDecidedBy(one, written) && covers(one, written, view))
}

/** The first of `earlier` that may take some of its packets. */
export function takesSomeOf(written: Written, earlier: readonly Written[]): Written | undefined {
  return earlier.find((one) => isDecidedBy(one, written) && mayMeet(one, written))
}

const ENDS = new Set(['DNAT', 'SNAT', 'MASQUERADE', 'REDIRECT', 'NETMAP', 'ACCEPT', 'RETURN'])

/** Whether both are loaded, in the same table, and a packet that meets `one` goes no further. */
function isDecidedBy(one: Written, written: Written): boolean {
  return (
    one.loaded !== undefined &&
    written.loaded !== undefined &&
    (['from', 'family', 'hook'] as const).every((key) => one[key] === written[key]) &&
    ENDS.has(one.target)
  )
}

/** Whether each packet of `other` meets `one`, as far as its conditions are known. */
function covers(one: Written, other: Written, { network }: View): boolean {
  const { destination } = other
  const isOwn = destination !== undefined && network.own.some(({ ip }) => sameRange(ip, destination))
  return (
    one.unread.length === 0 &&
    Object.keys(one.not).length === 0 &&
    (!one.isLocal || other.isLocal === true || isOwn) &&
    coversRange(one.source, other.source) &&
    coversRange(one.destination, destination) &&
    (one.in === undefined || isInterface(one.in, other.in)) &&
    (one.out === undefined || isInterface(one.out, other.out)) &&
    (one.proto === undefined || one.proto === other.proto) &&
    coversPorts(one.ports, other.ports) &&
    coversPorts(one.sports, other.sports)
  )
}

function coversRange(one: Range | undefined, other: Range | undefined): boolean {
  return one === undefined || (other !== undefined && contains(one, other))
}

function coversPorts(
  one: readonly PortRange[] | undefined,
  other: readonly PortRange[] | undefined,
): boolean {
  if (one === undefined) return true
  return other?.every(([lo, hi]) => one.some(([from, to]) => from <= lo && hi <= to)) ?? false
}

/** Whether a packet can meet the conditions of both; a condition that is not known counts as met. */
function mayMeet(one: Written, other: Written): boolean {
  return (
    both(one.source, other.source, overlap) &&
    both(one.destination, other.destination, overlap) &&
    both(one.in, other.in, (a, b) => isInterface(a, b) || isInterface(b, a)) &&
    both(one.out, other.out, (a, b) => isInterface(a, b) || isInterface(b, a)) &&
    both(one.not.in, other.in, (a, b) => !isInterface(a, b)) &&
    both(one.proto, other.proto, (a, b) => a === b) &&
    both(one.ports, other.ports, (a, b) => a.some((x) => b.some((y) => meets(x, y))))
  )
}

/** True where one of the two asks for nothing. */
function both<T>(one: T | undefined, other: T | undefined, test: (one: T, other: T) => boolean): boolean {
  return one === undefined || other === undefined || test(one, other)
}
