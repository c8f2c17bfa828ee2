/** Counts by the address that asks, so that one source cannot use up what there is for all. */
import { isIP } from 'node:net'
import { formatRange, network, parseIp } from '../address.ts'

/** Who asks: an IPv4 address, or an IPv6 network of 64 bits, since whoever has one address there has them all. */
export function sourceOf(address = ''): string {
  const plain = address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
  const ip = parseIp(plain.split('%', 1).join(''))
  return ip?.family === 6 ? formatRange(network(6, ip.lo, 64)) : plain
}

/** Takes one of the `most` of a source; the result gives it back. Undefined when the source has them all. */
export function makeShare(most: number): (source: string) => (() => void) | undefined {
  const taken = new Map<string, number>()
  const change = (source: string, by: number): void => {
    const count = (taken.get(source) ?? 0) + by
    if (count > 0) taken.set(source, count)
    else taken.delete(source)
  }
  return (source) => {
    if ((taken.get(source) ?? 0) >= most) return undefined
    change(source, 1)
    return () => change(source, -1)
  }
}
