/** The ports of IN rules at random, in all the ways in which they may be typed. */
import fc from 'fast-check'
import { portList, type Pair, type Ports, type Proto, type Shape } from './spec.ts'

export const proto = fc.constantFrom<Proto>('tcp', 'udp')
const width = fc.constantFrom(1, 1, 1, 2, 5, 10)
const blockOf =
  (base: number, size: number) =>
  ([at, wide]: readonly [number, number]): Ports => [
    base + at,
    Math.min(base + at + wide - 1, base + size - 1),
  ]
const external = fc.tuple(fc.nat(19), width).map(blockOf(2000, 20))
const innerStart = fc.constantFrom(22, 80, 2000, 2005, 5000, 5003)

/** One or two ranges that do not meet. */
export const externals: fc.Arbitrary<Ports[]> = fc.oneof(
  external.map((one) => [one]),
  fc
    .tuple(
      fc.tuple(fc.nat(9), width).map(blockOf(2000, 10)),
      fc.tuple(fc.nat(9), width).map(blockOf(2010, 10)),
      fc.boolean(),
    )
    .map(([a, b, turned]) => (turned ? [b, a] : [a, b])),
)

/** Sometimes a port that is not everybody's. */
const odd = fc.constantFrom<Ports>([3128, 3128], [8006, 8006], [8000, 8010])

const shape = (pairs: Pair[], options: string, endpoint = '', action = 'ACCEPT'): Shape => ({
  action,
  options,
  endpoint,
  pairs,
  accept: options.includes('-sport'),
})

/** Equal widths, item by item: the inner ranges lie apart. */
const shifted = fc
  .record({ proto, outer: externals, inner: innerStart, sport: fc.boolean() })
  .map(({ proto, outer, inner, sport }) => {
    const starts = outer.map((_, i) => inner + 100 * i)
    const pairs = outer.map((one, i): Pair => {
      return { protos: [proto], external: one, inner: starts[i] as number, single: false }
    })
    const dports = outer.map(([lo, hi], i): Ports => {
      const start = starts[i] as number
      return [start, start + hi - lo]
    })
    const own = sport ? ` -sport ${portList(outer, ':')}` : ''
    return shape(
      pairs,
      `-p ${proto} -dport ${portList(dports, ':')}${own}`,
      sport ? '' : portList(outer, '-'),
    )
  })

const manyToOne = fc.record({ proto, outer: externals, inner: innerStart }).map(({ proto, outer, inner }) => {
  const pairs = outer.map((one): Pair => ({ protos: [proto], external: one, inner, single: true }))
  // `2004:2005` that ends with the inner port is Docker's order, which is an error.
  const dash = outer.some(([lo, hi]) => lo < hi && hi === inner) ? '-' : ':'
  return shape(pairs, `-p ${proto} -dport ${inner}`, portList(outer, dash))
})

/** Without inner ports, or without external ones: the same on both sides. */
const same = fc
  .record({
    protos: fc.constantFrom<Proto[]>(['tcp'], ['udp'], ['tcp', 'udp']),
    outer: fc.oneof({ weight: 20, arbitrary: externals }, { weight: 1, arbitrary: odd.map((one) => [one]) }),
    typed: fc.constantFrom('comment', 'dport', 'sport'),
  })
  .map(({ protos, outer, typed }) => {
    const pairs = outer.map((one): Pair => ({ protos, external: one, inner: one[0], single: false }))
    const [only, more] = protos
    if (more) return shape(pairs, '', portList(outer, '-'))
    if (typed === 'comment') return shape(pairs, `-p ${only}`, portList(outer, '-'))
    return shape(pairs, `-p ${only} -${typed} ${portList(outer, ':')}`)
  })

const MACROS: Record<string, { protos: Proto[]; ports: number[] }> = {
  SSH: { protos: ['tcp'], ports: [22] },
  Web: { protos: ['tcp'], ports: [80, 443] },
  DNS: { protos: ['udp', 'tcp'], ports: [53] },
}

const macro = fc
  .record({
    name: fc.constantFrom(...Object.keys(MACROS)),
    outer: fc.tuple(fc.nat(9), fc.nat(9)),
    none: fc.boolean(),
  })
  .map(({ name, outer: [a, b], none }) => {
    const { protos, ports } = MACROS[name] as { protos: Proto[]; ports: number[] }
    const outer = none ? ports : ports.map((_, i) => (i === 0 ? 2000 + a : 2010 + b))
    const pairs = ports.map((inner, i): Pair => {
      const one = outer[i] as number
      return { protos, external: [one, one], inner, single: false }
    })
    return shape(pairs, '', none ? '' : outer.join(), `${name}(ACCEPT)`)
  })

export const anyShape = fc.oneof(shifted, manyToOne, same, macro)

export const holeShape = fc
  .record({ proto, inner: innerStart, wide: fc.constantFrom(1, 1, 3) })
  .map(({ proto, inner, wide }) => {
    const range: Ports = [inner, inner + wide - 1]
    const pair: Pair = { protos: [proto], external: range, inner, single: false }
    return shape([pair], `-p ${proto} -dport ${portList([range], ':')}`)
  })
