/** Many rules at random, so many that trees are made of them, among the few of the generator. */
import fc from 'fast-check'
import { specs } from './generate.ts'
import type { Egress, Forward, Ports, Proto, Spec } from './spec.ts'
import { EXTERNAL, INNER } from './world.ts'

const V4 = INNER.filter((address) => !address.includes(':'))

/** Mostly single ports; ranges begin and end wherever. */
const external = fc
  .tuple(fc.nat(799), fc.constantFrom(1, 1, 1, 1, 2, 9, 40, 300))
  .map(([at, wide]): Ports => [1700 + at, 1700 + at + wide - 1])

const source = fc.constantFrom(
  undefined,
  undefined,
  undefined,
  undefined,
  '198.51.100.0/24',
  '198.51.100.7',
  '192.0.2.9',
  '10.10.10.0/24',
  '203.0.113.0/24',
)

const forward: fc.Arbitrary<Forward> = fc
  .record({
    external,
    proto: fc.constantFrom<Proto>('tcp', 'udp'),
    start: fc.constantFrom(22, 80, 5000),
    inner: fc.constantFrom(...V4, ...V4, ...INNER),
    source,
    address: fc.constantFrom(undefined, undefined, undefined, undefined, undefined, EXTERNAL[0]),
    kind: fc.constantFrom('comment', 'comment', 'single', 'sport'),
    hairpin: fc.nat(9).map((n) => n < 8),
    snat: fc.nat(9).map((n) => n === 9),
  })
  .map(({ external: [lo, hi], proto, start, inner, source, address, kind, hairpin, snat }): Forward => {
    const ports = (from: number, to: number, dash: string): string =>
      from === to ? `${from}` : `${from}${dash}${to}`
    const single = kind === 'single'
    const dport = single ? `${start}` : ports(start, start + hi - lo, ':')
    const isV4 = !inner.includes(':')
    return {
      kind: 'forward',
      off: false,
      action: 'ACCEPT',
      hairpin,
      snat,
      accept: kind === 'sport',
      options: `-p ${proto} -dport ${dport}${kind === 'sport' ? ` -sport ${ports(lo, hi, ':')}` : ''}`,
      endpoint: kind === 'sport' ? '' : ports(lo, hi, '-'),
      pairs: [{ protos: [proto], external: [lo, hi], inner: start, single }],
      inner: { address: inner, word: 'dest' },
      ...(source !== undefined && isV4 ? { source } : {}),
      ...(address !== undefined && isV4 ? { address } : {}),
    }
  })

const LANS = ['10.10.10.0/24', '10.10.10.104/29', '10.20.20.0/24', '10.10.10.105,10.20.20.110']

const egress: fc.Arbitrary<Egress> = fc
  .record({
    source: fc.oneof(
      { weight: 8, arbitrary: fc.nat(255).map((n) => `10.10.10.${n}`) },
      { weight: 3, arbitrary: fc.constantFrom(...V4) },
      { weight: 1, arbitrary: fc.constantFrom(...LANS) },
    ),
    dest: fc.constantFrom(undefined, undefined, '198.51.100.0/24', '192.0.2.9', '203.0.113.0/24'),
    what: fc.constantFrom({ none: false }, { none: true }, { none: false, to: '203.0.113.7' }),
  })
  .map(({ source, dest, what }) => ({
    kind: 'egress',
    off: false,
    source,
    ...what,
    ...(dest === undefined ? {} : { dest }),
  }))

/** With hundreds of rules more, after those of host.fw. */
export const crowds: fc.Arbitrary<Spec> = fc
  .tuple(
    specs,
    fc.array(forward, { minLength: 150, maxLength: 400 }),
    fc.array(egress, { minLength: 70, maxLength: 150 }),
  )
  .map(([spec, forwards, egresses]) => ({ ...spec, host: [...spec.host, ...forwards, ...egresses] }))
