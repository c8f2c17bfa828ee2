/** Counts by the address that asks, so that one source cannot use up what there is for all. */
import { isIP } from 'node:net'
import { formatRange, network, parseIp } from '../address.ts'

/** Who asks: an IPv4 address, or an IPv6 network of 64 bits, since whoever has one address there has them all. */
export function sourceOf(address = ''): string {
  const plain = address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
  const ip = parseIp(plain.split('%', 1).join(''))
  return ip?.family === 6 ? formatRange(network(6, ip.lo, 64)) : plain
}

interface Share {
  /** Takes one of a source's share; false when it has had all of it. */
  take: (source: string) => boolean
  /** Gives one back. */
  give: (source: string) => void
}

export function makeShare(most: number): Share {
  const taken = new Map<string, number>()
  return {
    take(source) {
      const count = taken.get(source) ?? 0
      if (count >= most) return false
      taken.set(source, count + 1)
      return true
    },
    give(source) {
      const count = (taken.get(source) ?? 0) - 1
      if (count > 0) taken.set(source, count)
      else taken.delete(source)
    },
  }
}
