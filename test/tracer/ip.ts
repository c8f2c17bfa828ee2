/** Addresses for the tracer and the plain reading, on their own: nothing here is shared with src. */

export type Family = 4 | 6

/** First and last address; a single one is both. */
export interface Span {
  family: Family
  lo: bigint
  hi: bigint
}

const parsed = new Map<string, Span>()

/** `a`, `a/length` or `a-b`. */
export function span(text: string): Span {
  const known = parsed.get(text)
  if (known) return known
  const [from = '', to] = text.split('-')
  const [address = '', length] = from.split('/')
  const family = address.includes(':') ? 6 : 4
  const lo = value(address)
  const bits = BigInt((family === 4 ? 32 : 128) - Number(length ?? (family === 4 ? 32 : 128)))
  const result = { family, lo, hi: to === undefined ? lo + (1n << bits) - 1n : value(to) } as const
  parsed.set(text, result)
  return result
}

/** The address of a family with this number, as text. */
export function addressText(family: Family, number: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (number >> shift) & 255n).join('.')
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((number >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  )
  // URLs have IPv6 addresses in their shortest form.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

export function within({ family, lo, hi }: Span, address: string): boolean {
  const one = span(address)
  return one.family === family && lo <= one.lo && one.lo <= hi
}

function value(address: string): bigint {
  if (!address.includes(':')) return address.split('.').reduce((sum, quad) => sum * 256n + BigInt(quad), 0n)
  const [head = '', tail] = address.split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const [left, right] = [groups(head), groups(tail ?? '')]
  const zeros = Array<string>(tail === undefined ? 0 : 8 - left.length - right.length).fill('0')
  return [...left, ...zeros, ...right].reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n)
}
