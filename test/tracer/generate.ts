/** Rules at random. Ports and addresses are few, so that rules overlap. */
import fc from 'fast-check'
import { lineText, portList, type Block, type Egress, type Entry, type Forward, type Hole } from './spec.ts'
import type { Line, Names, Pair, Ports, Proto, Rule, Shape, Spec } from './spec.ts'
import { EXTERNAL, INNER, OWNERS, type WorldGuest } from './world.ts'

// Addresses

const V4 = [
  ...['198.51.100.0/24', '198.51.100.7', '198.51.100.8/31', '192.0.2.0/24', '192.0.2.9', '203.0.113.0/24'],
  ...['10.10.10.0/24', '10.10.10.104/29', '10.10.10.105', '10.20.20.0/24', '128.0.0.0/1'],
]
const V6 = ['2001:db8:51::/64', '2001:db8:51::7', 'fd10::/64', 'fd10::105', '2001:db8::/32']
/** A rule in which both families meet is an error, so one of them is rare. */
const NETWORKS = [...V4, ...V4, ...V4, ...V6]

const LISTS = [
  ...['198.51.100.7,192.0.2.9', '198.51.100.0/24,10.10.10.0/24', '10.10.10.105,10.10.10.107,203.0.113.2'],
  ...['198.51.100.7-198.51.100.8', '192.0.2.9-198.51.100.7', '10.10.10.105-10.10.10.107', '0.0.0.0/0'],
  ...['2001:db8:51::7,2001:db8:51::8', 'fd10::/64,2001:db8:113::1', 'fd10::105-fd10::107'],
]

const REFERENCES = ['office', 'dc/office', '+partners', '+dc/partners', '+others']
/** Every guest has these names of its own. */
const OWN_REFERENCES = ['guest/office', '+guest/partners']

/** Whose file it is; undefined for cluster.fw and host.fw. */
type Owner = WorldGuest | undefined

const anySource = (owner: Owner): fc.Arbitrary<string | undefined> =>
  fc.oneof(
    { weight: 8, arbitrary: fc.constant(undefined) },
    { weight: 4, arbitrary: fc.constantFrom(...NETWORKS) },
    { weight: 2, arbitrary: fc.constantFrom(...LISTS) },
    { weight: 4, arbitrary: fc.constantFrom(...REFERENCES, ...(owner ? OWN_REFERENCES : [])) },
  )

const entries: fc.Arbitrary<Entry[]> = fc.uniqueArray(
  fc.record({
    text: fc.constantFrom(...V4, ...V6, 'office'),
    nomatch: fc.nat(2).map((n) => n === 2),
  }),
  { minLength: 1, maxLength: 5, selector: ({ text }) => text },
)

/** An alias in a set may say the same as an entry beside it, which is an error in Proxmox VE. */
const names: fc.Arbitrary<Names> = fc
  .record({ office: fc.constantFrom(...NETWORKS), partners: entries, others: entries })
  .map(({ office, partners, others }) => {
    const distinct = (list: Entry[]): Entry[] => list.filter(({ text }) => text !== office)
    return { aliases: { office }, sets: { partners: distinct(partners), others: distinct(others) } }
  })

// Ports

const proto = fc.constantFrom<Proto>('tcp', 'udp')
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
const externals: fc.Arbitrary<Ports[]> = fc.oneof(
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
  ...{ action, options, endpoint, pairs },
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
  return shape(pairs, `-p ${proto} -dport ${inner}`, portList(outer, ':'))
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

const anyShape = fc.oneof(shifted, manyToOne, same, macro)

const holeShape = fc
  .record({ proto, inner: innerStart, wide: fc.constantFrom(1, 1, 3) })
  .map(({ proto, inner, wide }) => {
    const range: Ports = [inner, inner + wide - 1]
    const pair: Pair = { protos: [proto], external: range, inner, single: false }
    return shape([pair], `-p ${proto} -dport ${portList([range], ':')}`)
  })

// Rules

const rarely = fc.nat(9).map((n) => n === 9)

/** Mostly the guest's own address; another guest's is forbidden. */
const innerOf = (owner: Owner): fc.Arbitrary<Forward['inner']> => {
  const word = fc.constantFrom<'to' | 'dest'>('to', 'dest')
  const v4 = INNER.filter((address) => !address.includes(':'))
  if (!owner) return fc.record({ address: fc.constantFrom(...v4, ...v4, ...INNER), word })
  return fc.oneof(
    { weight: 12, arbitrary: fc.constant(undefined) },
    { weight: 2, arbitrary: fc.record({ address: fc.constantFrom(...owner.addresses), word }) },
    { weight: 1, arbitrary: fc.record({ address: fc.constantFrom(...INNER), word }) },
  )
}

const ifaceOf = (owner: Owner): fc.Arbitrary<Forward['iface']> =>
  fc.oneof(
    { weight: 7, arbitrary: fc.constant(undefined) },
    fc.record({
      name: fc.constantFrom('vmbr0', 'eth1'),
      word: fc.constantFrom<'if' | '-i'>('if', owner ? 'if' : '-i'),
    }),
  )

const anyExternal = fc.oneof(
  { weight: 20, arbitrary: fc.constant(undefined) },
  { weight: 8, arbitrary: fc.constantFrom(...EXTERNAL.filter((one) => !one.includes(':'))) },
  { weight: 2, arbitrary: fc.constantFrom(...EXTERNAL) },
  { weight: 1, arbitrary: fc.constant('198.51.100.7') },
)

/** Leaves out what is undefined: that is how a spec says "not given". */
function given<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never
}

const forward = (owner: Owner): fc.Arbitrary<Forward> =>
  fc
    .record({
      shape: anyShape,
      rest: fc.record({
        ...{ off: rarely, source: anySource(owner), address: anyExternal, iface: ifaceOf(owner) },
        ...{ inner: innerOf(owner), hairpin: rarely.map((is) => !is), snat: rarely },
      }),
    })
    .map(({ shape, rest }) => ({ ...given(rest), ...shape, kind: 'forward' }))

const hole = (owner: Owner): fc.Arbitrary<Hole> =>
  fc
    .record({
      shape: holeShape,
      rest: fc.record({ off: rarely, source: anySource(owner), inner: innerOf(owner) }),
    })
    .map(({ shape, rest }) => ({ ...given(rest), ...shape, kind: 'hole' }))

const flows = (sources: fc.Arbitrary<string | undefined>, dests: fc.Arbitrary<string | undefined>) =>
  fc.record({
    ...{ source: sources, dest: dests },
    ports: fc.oneof(
      fc.constant({}),
      proto.map((one) => ({ proto: one })),
      fc.record({ proto, ports: externals }),
    ),
  })

const LANS = [
  ...[
    '10.10.10.0/24',
    '10.10.10.105',
    '10.20.20.0/24',
    '10.10.10.105,10.20.20.0/24',
    'fd10::/64',
    'fd20::110',
  ],
  ...['10.10.10.105-10.10.10.107', 'dc/lan', '+lans'],
]
const lan = fc.oneof(fc.constant(undefined), fc.constantFrom(...LANS))

const egress = (owner: Owner): fc.Arbitrary<Egress> =>
  fc
    .record({
      flows: flows(
        owner
          ? fc.oneof(
              { weight: 6, arbitrary: fc.constant(undefined) },
              { weight: 2, arbitrary: fc.constantFrom(...owner.addresses) },
              fc.constantFrom(...INNER),
            )
          : lan,
        anySource(owner),
      ),
      rest: fc.record({ off: rarely, iface: ifaceOf(owner) }),
      what: fc.oneof(
        { weight: 2, arbitrary: fc.constant({ none: false }) },
        fc.constant({ none: true }),
        fc.constantFrom(...EXTERNAL, '198.51.100.7').map((to) => ({ none: false, to })),
      ),
    })
    .map(({ flows: { ports, ...sides }, rest, what }) => ({
      ...{ ...given(sides), ...ports, ...given(rest), ...what, kind: 'egress' },
    }))

const block: fc.Arbitrary<Block> = fc
  .record({
    sides: fc.oneof(
      flows(lan, anySource(undefined)).map((one) => ({ ...one, type: 'OUT' as const })),
      flows(anySource(undefined), lan).map((one) => ({ ...one, type: 'IN' as const })),
    ),
    rest: fc.record({
      off: rarely,
      iface: ifaceOf(undefined),
      action: fc.constantFrom<'DROP' | 'REJECT'>('DROP', 'REJECT'),
    }),
  })
  .map(({ sides: { ports, ...sides }, rest }) => ({
    ...given(sides),
    ...ports,
    ...given(rest),
    kind: 'block',
  }))

const rule = (owner: Owner): fc.Arbitrary<Rule> =>
  fc.oneof(
    { weight: 8, arbitrary: forward(owner) },
    { weight: 1, arbitrary: hole(owner) },
    { weight: 3, arbitrary: egress(owner) },
    { weight: owner ? 0 : 2, arbitrary: block },
  )

/** A group is for guests and for cluster and host alike, so its rules may fit only some; -i and guest/ have no place in it. */
const groupRule = fc
  .constantFrom(undefined, OWNERS[0])
  .chain(rule)
  .filter((one) => !/ -i |guest\//.test(lineText(one)))

const group = fc.record({
  kind: fc.constant('group' as const),
  off: rarely,
  name: fc.constantFrom('web', 'mail'),
})

const lines = (owner: Owner, maxLength: number): fc.Arbitrary<Line[]> =>
  fc.array(
    fc.oneof<fc.WeightedArbitrary<Line>[]>(
      { weight: 8, arbitrary: rule(owner) },
      { weight: 1, arbitrary: group },
    ),
    {
      maxLength,
    },
  )

export const specs: fc.Arbitrary<Spec> = fc
  .record({
    names,
    web: fc.array(groupRule, { maxLength: 3 }),
    mail: fc.array(groupRule, { maxLength: 2 }),
    cluster: lines(undefined, 4),
    host: lines(undefined, 2),
    guests: fc.tuple(...OWNERS.map((owner) => fc.record({ names, lines: lines(owner, 4) }))),
  })
  .map(({ names, web, mail, cluster, host, guests }) => ({
    names: {
      aliases: { ...names.aliases, lan: '10.10.10.0/24' },
      sets: { ...names.sets, lans: LANS_SET },
    },
    groups: { web, mail },
    ...{ cluster, host },
    guests: Object.fromEntries(OWNERS.map(({ vmid }, i) => [vmid, guests[i] as (typeof guests)[0]])),
  }))

const LANS_SET: Entry[] = [
  { text: 'lan', nomatch: false },
  { text: '10.10.10.104/29', nomatch: true },
  { text: '10.10.10.107', nomatch: false },
  { text: 'fd20::/64', nomatch: false },
]
