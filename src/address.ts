/**
 * Addresses as closed ranges of numbers: the one form in which sources, networks and single
 * addresses are compared. IPv6 text is left to ip-cidr; IPv4 is read here because pvenat takes dotted quads only
 * (Net::IP upstream also swallows `10`, `0/0` and `010.0.0.1`).
 */
import IPCIDR from 'ip-cidr'

export type Family = 4 | 6

export const FAMILIES: readonly Family[] = [4, 6]

/** All addresses from `lo` to `hi`, both included. */
export interface Range {
  family: Family
  lo: bigint
  hi: bigint
}

const BITS = { 4: 32, 6: 128 } as const

/** Every address of a family. */
export function everything(family: Family): Range {
  return { family, lo: 0n, hi: (1n << BigInt(BITS[family])) - 1n }
}

/** One bare address; undefined when `text` is anything else. */
export function parseIp(text: string): Range | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const quads = text.split('.')
    if (quads.some((quad) => Number(quad) > 255 || (quad.length > 1 && quad.startsWith('0'))))
      return undefined
    const value = BigInt(quads.reduce((sum, quad) => sum * 256 + Number(quad), 0))
    return { family: 4, lo: value, hi: value }
  }
  const groups = hexTail(text)
  if (!groups.includes(':') || !/^[0-9a-fA-F:]{2,39}$/.test(groups) || !IPCIDR.isValidAddress(groups))
    return undefined
  const value = new IPCIDR(`${groups}/128`).start<bigint>({ type: 'bigInteger' })
  return { family: 6, lo: value, hi: value }
}

/** `::ffff:10.0.0.1` → `::ffff:a00:1`: the form that ip-cidr reads right. */
function hexTail(text: string): string {
  const tail = text.includes(':') ? /(?<=:)\d+\.\d+\.\d+\.\d+$/.exec(text)?.[0] : undefined
  const ip = tail === undefined ? undefined : parseIp(tail)
  if (tail === undefined || !ip) return text
  return `${text.slice(0, -tail.length)}${(ip.lo >> 16n).toString(16)}:${(ip.lo & 0xffffn).toString(16)}`
}

/** `ADDRESS/LENGTH` or a bare address. Host bits below the prefix are cut off. */
export function parseCidr(text: string): Range | undefined {
  const slash = text.indexOf('/')
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash))
  if (!ip || slash < 0) return ip
  const length = text.slice(slash + 1)
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > BITS[ip.family]) return undefined
  return network(ip.family, ip.lo, Number(length))
}

/** The network of `length` bits around an address. */
export function network(family: Family, address: bigint, length: number): Range {
  const hostBits = BigInt(BITS[family] - length)
  const lo = (address >> hostBits) << hostBits
  return { family, lo, hi: lo + (1n << hostBits) - 1n }
}

/** Address, network or `a-b`. */
export function parseRange(text: string): Range | undefined {
  const dash = text.indexOf('-')
  if (dash < 0) return parseCidr(text)
  const from = parseIp(text.slice(0, dash))
  const to = parseIp(text.slice(dash + 1))
  if (!from || !to || from.family !== to.family || from.lo > to.lo) return undefined
  return { family: from.family, lo: from.lo, hi: to.lo }
}

/** One address as canonical text (RFC 5952 for IPv6). */
export function formatIp(family: Family, value: bigint): string {
  if (family === 4) {
    const bits = Number(value)
    return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`
  }
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16))
  return IPCIDR.createAddress(groups.join(':')).correctForm()
}

/** `a`, `a/len`, or `a-b`: the shortest that says it. */
export function formatRange(range: Range): string {
  const { family, lo, hi } = range
  if (lo === hi) return formatIp(family, lo)
  const length = prefixLength(range)
  if (length !== undefined) return `${formatIp(family, lo)}/${length}`
  return `${formatIp(family, lo)}-${formatIp(family, hi)}`
}

/** The prefix length of a range that is one network, else undefined. */
export function prefixLength({ family, lo, hi }: Range): number | undefined {
  if (lo === hi) return BITS[family]
  const size = hi - lo + 1n
  if ((size & (size - 1n)) !== 0n || lo % size !== 0n) return undefined
  return BITS[family] - (size.toString(2).length - 1)
}

export function contains(outer: Range, inner: Range): boolean {
  return outer.family === inner.family && outer.lo <= inner.lo && inner.hi <= outer.hi
}

export function overlap(a: Range, b: Range): boolean {
  return a.family === b.family && a.lo <= b.hi && b.lo <= a.hi
}

export function sameRange(a: Range, b: Range): boolean {
  return a.family === b.family && a.lo === b.lo && a.hi === b.hi
}

export function sameSize(a: Range, b: Range): boolean {
  return a.hi - a.lo === b.hi - b.lo
}

/** Whether any address lies in both lists. */
export function intersects(a: readonly Range[], b: readonly Range[]): boolean {
  return a.some((x) => b.some((y) => overlap(x, y)))
}

/** `ranges` without `hole`. */
export function without(ranges: readonly Range[], hole: Range): Range[] {
  return ranges.flatMap((range) => {
    if (!overlap(range, hole)) return [range]
    const rest: Range[] = []
    if (range.lo < hole.lo) rest.push({ ...range, hi: hole.lo - 1n })
    if (hole.hi < range.hi) rest.push({ ...range, lo: hole.hi + 1n })
    return rest
  })
}

/** The fewest networks that cover a range exactly. */
export function toNetworks(range: Range): Range[] {
  const { family } = range
  const networks: Range[] = []
  let lo = range.lo
  while (lo <= range.hi) {
    let size = lo === 0n ? 1n << BigInt(BITS[family]) : lo & -lo
    while (lo + size - 1n > range.hi) size >>= 1n
    networks.push({ family, lo, hi: lo + size - 1n })
    lo += size
  }
  return networks
}

/** The address of `network` that stands at the same place as `address` in a network of its size. */
export function mappedInto({ lo, hi }: Range, address: Range): Range {
  const offset = address.lo & (hi - lo)
  return { family: address.family, lo: lo + offset, hi: lo + offset }
}

/** An address that the internet does not route: private, shared by providers, link-local, unique local. */
export function isPrivate(address: Range): boolean {
  return PRIVATE.some((range) => contains(range, address))
}

const PRIVATE = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  'fc00::/7',
  'fe80::/10',
].flatMap((text) => parseCidr(text) ?? [])

/** An address of IPv6 that counts on one link only. */
export function isLinkLocal6(address: Range): boolean {
  return contains(LINK_LOCAL_6, address)
}

const LINK_LOCAL_6 = network(6, 0xfe80n << 112n, 10)

/** One address as the key of a map. */
export function addressKey({ family, lo }: Range): string {
  return `${family}:${lo}`
}
