/**
 * Rights of guests: a port at an external address, a whole external address (full=1), an inner address. A right begins when a claim is granted.
 * Only its owner ends it, by an edit in a readable file while the guest is on this node. No state of the node or datacenter ends a right.
 */
import { addressKey, parseIp, sameRange, type Family, type Range } from '../address.ts'
import type { Guest } from '../guest/guest.ts'
import { append, groupBy } from '../lists.ts'
import { ALL_PORTS, mergePorts, takeOut, within, type PortRange } from '../ports.ts'

export interface Right {
  vmid: number
  /** tcp, udp, sctp, or a protocol without ports; `all`: a whole external address; `inner`: an inner address. */
  proto: string
  /** Undefined for a protocol without ports, and for addresses. */
  ports: PortRange | undefined
  /** The key of the clients. */
  source: string
  /** Addresses as `formatRange` has them, of one family; `*4` and `*6`: all of the family, as older versions remembered it. */
  at: readonly string[]
}

/** What the state remembers of rights. */
export interface Ledger {
  /** Lines `VMID PROTOCOL LO-HI SOURCE ADDRESS,ADDRESS...`, with `-` for no ports. */
  rights: readonly string[]
  /** The identity of each owner, by VMID. */
  guests: Readonly<Record<string, string>>
  /** Guests about whose files nothing can be said now: on another node, unreadable, or missing for a moment. */
  unjudged: ReadonlySet<number>
  /** Owners that were missing, or their files, by VMID: since when, in seconds since 1970. */
  missing: Readonly<Record<string, number>>
}

export const NO_RIGHTS: Ledger = { rights: [], guests: {}, unjudged: new Set(), missing: {} }

/** How long a guest, or its file, must be missing until it counts as gone: both vanish for a moment when they are moved or saved. */
export const CONFIRM_SECONDS = 3

/** The rights of lines; a line that makes no sense is none. Many lines share one list of addresses. */
export function parseRights(lines: readonly string[]): Right[] {
  const lists = new Map<string, string[]>()
  return lines.flatMap((line): Right[] => {
    const [vmid, proto, ports = '', source, addresses, ...more] = line.split(' ')
    if (!/^[1-9]\d{2,9}$/.test(vmid ?? '') || !/^(-|\d{1,5}-\d{1,5})$/.test(ports)) return []
    if (!proto || !source || !addresses || more.length > 0) return []
    const at = lists.get(addresses) ?? addresses.split(',')
    lists.set(addresses, at)
    const [lo = 0, hi = lo] = ports.split('-').map(Number)
    return [{ vmid: Number(vmid), proto, ports: ports === '-' ? undefined : [lo, hi], source, at }]
  })
}

export function formatRight({ vmid, proto, ports, source, at }: Right): string {
  // Joined at once: a string that is put together piece by piece keeps its pieces.
  return [vmid, proto, ports ? `${ports[0]}-${ports[1]}` : '-', source, at.join(',')].join(' ')
}

/** A claim that a guest's rule makes, whether or not the node can serve it now. */
export interface Ask extends Pick<Right, 'vmid' | 'proto' | 'ports' | 'source'> {
  /** The external address that the rule names; any when undefined. */
  address?: Range | undefined
}

/** The parts of rights that are still asked for. */
export function covered(rights: readonly Right[], asks: readonly Ask[]): Right[] {
  const byKind = groupBy(asks, ({ vmid, proto }) => `${vmid} ${proto}`)
  return rights.flatMap((right) => {
    const fitting = (byKind.get(`${right.vmid} ${right.proto}`) ?? []).filter(
      ({ source }) => source === 'any' || source === right.source,
    )
    const [all, some] = [fitting.filter((ask) => !ask.address), fitting.filter((ask) => ask.address)]
    if (some.length === 0) return coveredPorts(right, all)
    return right.at.flatMap((text) => {
      const address = parseIp(text)
      const here = some.filter((ask) => !address || (ask.address && sameRange(ask.address, address)))
      return coveredPorts({ ...right, at: [text] }, [...all, ...here])
    })
  })
}

function coveredPorts(right: Right, asks: readonly Ask[]): Right[] {
  const own = right.ports ?? ALL_PORTS
  if (asks.some(({ ports = ALL_PORTS }) => ports[0] <= own[0] && own[1] <= ports[1])) return [right]
  const parts = within(
    asks.map(({ ports = ALL_PORTS }) => ports),
    own,
  )
  return mergePorts(parts).map((ports) => ({ ...right, ports }))
}

/** The parts of rights that are not among the granted ones. */
export function withoutGranted(rights: readonly Right[], granted: readonly Right[]): Right[] {
  const lines = new Set(granted.map(formatRight))
  const left = rights.filter((right) => !lines.has(formatRight(right)))
  if (left.length === 0) return []
  const byPlace = new Map<string, PortRange[]>()
  const owners = new Set(left.map(({ vmid }) => vmid))
  for (const right of granted) {
    if (!owners.has(right.vmid)) continue
    for (const address of right.at) append(byPlace, placeKey(right, address), right.ports ?? ALL_PORTS)
  }
  return left.flatMap((right) => {
    if (!right.at.some((address) => byPlace.has(placeKey(right, address)))) return [right]
    return right.at.flatMap((address) => {
      const rest = [right.ports ?? ALL_PORTS]
      for (const ports of byPlace.get(placeKey(right, address)) ?? []) takeOut(rest, ports)
      return rest.map((ports) => ({ ...right, ports: right.ports && ports, at: [address] }))
    })
  })
}

function placeKey({ vmid, proto, source }: Right, address: string): string {
  return `${vmid} ${proto} ${source} ${address}`
}

/** Rights at `*4` and `*6` as rights at the addresses that are there; as they are while there are none. */
export function atAddresses(rights: readonly Right[], addresses: Record<Family, readonly string[]>): Right[] {
  return rights.map((right) => {
    const family = right.at[0] === '*4' ? 4 : right.at[0] === '*6' ? 6 : undefined
    return family && addresses[family].length > 0 ? { ...right, at: addresses[family] } : right
  })
}

/** The guest that holds each inner address, by `addressKey`. */
export function innerHolders(rights: readonly Right[]): Map<string, number> {
  return new Map(
    rights.flatMap(({ vmid, proto, at }) => {
      const address = proto === 'inner' ? parseIp(at[0] ?? '') : undefined
      return address ? [[addressKey(address), vmid]] : []
    }),
  )
}

/** The identity of a guest, which differs for a later guest with the same VMID: the time of creation and the MACs. */
export function identityOf({ created = '', nics }: Guest): string {
  const macs = nics.flatMap(({ mac }) => mac ?? []).sort()
  return `${created} ${macs.join(',')}`
}

/**
 * Whether two identities are of one guest: made at the same moment; without that (containers), with a MAC in common. A guest that
 * has neither, or had neither before, cannot be told from another one.
 */
export function isSameGuest(before: string, now: string): boolean {
  if (before.trim() === '') return true
  const [[madeBefore, macsBefore = ''], [madeNow, macsNow = '']] = [before.split(' '), now.split(' ')]
  if (madeBefore !== '' || madeNow !== '') return madeBefore === madeNow
  const all = macsBefore.split(',')
  return macsNow === '' || macsNow.split(',').some((mac) => all.includes(mac))
}
