/**
 * Rules and packets at random. Ports and addresses are few, so that rules overlap; packets ask at the edges of what
 * the rules name.
 */
import fc from 'fast-check'
import { portList, type Block, type Egress, type Entry, type Forward, type Hole } from './spec.ts'
import type { Line, Names, Pair, Ports, Proto, Rule, Shape, Spec } from './spec.ts'
import type { Packet } from './tracer.ts'
import { EXTERNAL, familyOf, GUESTS, HOSTS, networkOf, nodeAddress, route } from './world.ts'

/** Guests that have a file. */
const OWNERS = GUESTS.filter(({ bridge }) => bridge !== 'vmbr0')
const INNER = OWNERS.flatMap(({ addresses }) => addresses)

// Addresses

const NETWORKS = [
  ...['198.51.100.0/24', '198.51.100.7', '198.51.100.8/31', '192.0.2.0/24', '192.0.2.9', '203.0.113.0/24'],
  ...['10.10.10.0/24', '10.10.10.104/29', '10.10.10.105', '10.20.20.0/24', '128.0.0.0/1'],
  ...['2001:db8:51::/64', '2001:db8:51::7', 'fd10::/64', 'fd10::105', '2001:db8::/32'],
]

const LISTS = [
  ...['198.51.100.7,192.0.2.9', '198.51.100.0/24,10.10.10.0/24', '10.10.10.105,10.10.10.107,203.0.113.2'],
  ...['2001:db8:51::7,2001:db8:51::8', 'fd10::/64,2001:db8:113::1', '0.0.0.0/0'],
]

const RANGES = [
  '198.51.100.7-198.51.100.8',
  '192.0.2.9-198.51.100.7',
  '10.10.10.105-10.10.10.107',
  'fd10::105-fd10::107',
]

const REFERENCES = ['office', 'dc/office', '+partners', '+dc/partners', '+others']
/** Every guest has these names of its own. */
const OWN_REFERENCES = ['guest/office', '+guest/partners']

const anySource = (isGuest: boolean): fc.Arbitrary<string | undefined> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constant(undefined) },
    { weight: 4, arbitrary: fc.constantFrom(...NETWORKS) },
    { weight: 2, arbitrary: fc.constantFrom(...LISTS, ...RANGES) },
    { weight: 4, arbitrary: fc.constantFrom(...REFERENCES, ...(isGuest ? OWN_REFERENCES : [])) },
  )

const entries: fc.Arbitrary<Entry[]> = fc.uniqueArray(
  fc.record({
    text: fc.constantFrom(...NETWORKS, 'office'),
    nomatch: fc.boolean(),
  }),
  { maxLength: 4, selector: ({ text }) => text },
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

const innerOf = (isGuest: boolean): fc.Arbitrary<Forward['inner']> => {
  const given = fc.record({
    address: fc.constantFrom(...INNER),
    word: fc.constantFrom<'to' | 'dest'>('to', 'dest'),
  })
  return isGuest ? fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, given) : given
}

const ifaceOf = (isGuest: boolean): fc.Arbitrary<Forward['iface']> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constant(undefined) },
    fc.record({
      name: fc.constantFrom('vmbr0', 'eth1'),
      word: fc.constantFrom<'if' | '-i'>('if', isGuest ? 'if' : '-i'),
    }),
  )

const anyExternal = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  fc.constantFrom(...EXTERNAL, '198.51.100.7'),
)

/** Leaves out what is undefined: that is how a spec says "not given". */
function given<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never
}

const forward = (isGuest: boolean): fc.Arbitrary<Forward> =>
  fc
    .record({
      shape: anyShape,
      rest: fc.record({
        ...{ off: rarely, source: anySource(isGuest), address: anyExternal, iface: ifaceOf(isGuest) },
        ...{ inner: innerOf(isGuest), hairpin: rarely.map((is) => !is), snat: rarely },
      }),
    })
    .map(({ shape, rest }) => ({ ...given(rest), ...shape, kind: 'forward' }))

const hole = (isGuest: boolean): fc.Arbitrary<Hole> =>
  fc
    .record({ shape: holeShape, rest: fc.record({ off: rarely, inner: innerOf(isGuest) }) })
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

const egress = (isGuest: boolean): fc.Arbitrary<Egress> =>
  fc
    .record({
      flows: flows(
        isGuest ? fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, fc.constantFrom(...INNER)) : lan,
        anySource(isGuest),
      ),
      rest: fc.record({ off: rarely, iface: ifaceOf(isGuest) }),
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
      flows(lan, anySource(false)).map((one) => ({ ...one, type: 'OUT' as const })),
      flows(anySource(false), lan).map((one) => ({ ...one, type: 'IN' as const })),
    ),
    rest: fc.record({ off: rarely, action: fc.constantFrom<'DROP' | 'REJECT'>('DROP', 'REJECT') }),
  })
  .map(({ sides: { ports, ...sides }, rest }) => ({ ...given(sides), ...ports, ...rest, kind: 'block' }))

const rule = (isGuest: boolean): fc.Arbitrary<Rule> =>
  fc.oneof(
    { weight: 8, arbitrary: forward(isGuest) },
    { weight: 1, arbitrary: hole(isGuest) },
    { weight: 3, arbitrary: egress(isGuest) },
    { weight: 1, arbitrary: block },
  )

/** A group is for guests and for cluster and host alike, so its rules may fit only some. */
const groupRule = fc
  .boolean()
  .chain((isGuest) => rule(isGuest))
  .filter(
    (one) =>
      !('source' in one && /guest\//.test(one.source ?? '')) &&
      !('dest' in one && /guest\//.test(one.dest ?? '')),
  )

const lines = (isGuest: boolean, maxLength: number): fc.Arbitrary<Line[]> =>
  fc.array(
    fc.oneof(
      { weight: 8, arbitrary: rule(isGuest) as fc.Arbitrary<Line> },
      fc.record({ kind: fc.constant('group' as const), off: rarely, name: fc.constantFrom('web', 'mail') }),
    ),
    { maxLength },
  )

export const specs: fc.Arbitrary<Spec> = fc
  .record({
    names,
    web: fc.array(groupRule, { maxLength: 3 }),
    mail: fc.array(groupRule, { maxLength: 2 }),
    cluster: lines(false, 4),
    host: lines(false, 2),
    guests: fc.tuple(...OWNERS.map(() => fc.record({ names, lines: lines(true, 4) }))),
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

// Packets

/** Where a packet comes from and goes, as numbers: which ports are worth asking depends on the rules. */
export interface Question {
  from: string
  to: number
  proto: Proto
  port: number
  isOld: boolean
}

export const questions: fc.Arbitrary<Question> = fc.record({
  from: fc.constantFrom(...HOSTS, ...HOSTS, ...INNER, ...INNER, '203.0.113.50', 'node'),
  ...{ to: fc.nat(), proto, port: fc.nat(), isOld: fc.nat(19).map((n) => n === 19) },
})

export function toPacket(question: Question, spec: Spec): Packet {
  const { from, to, proto, port, isOld } = question
  const targets = targetsOf(from)
  const destination = targets[to % targets.length] as string
  const ports = edges(spec)
  const dport = ports[port % ports.length] as number
  const rest = { destination, proto, sport: 40000, dport, state: isOld ? 'ESTABLISHED' : 'NEW' } as const
  if (from === 'node') return { ...rest, source: nodeSource(destination) }
  return { ...rest, in: entryOf(from, destination), source: from }
}

/** The external addresses more often than others. */
function targetsOf(from: string): string[] {
  if (from === 'node') return [...EXTERNAL, ...EXTERNAL, ...HOSTS]
  const isInner = INNER.includes(from)
  const others = isInner || from === '203.0.113.50' ? HOSTS : [...INNER, '203.0.113.50']
  const more = isInner ? INNER.filter((other) => networkOf(other) !== networkOf(from)) : []
  return [...EXTERNAL, ...EXTERNAL, ...others, ...more].filter((one) => {
    if (familyOf(one) !== (from === 'node' ? familyOf(one) : familyOf(from))) return false
    // A bridged guest asks its own router for what is not beside it.
    return from !== '203.0.113.50' || route(one) === 'vmbr0' || route(one) === 'local'
  })
}

/** What comes from the internet arrives by the interface that has the address; what is behind it by the default route. */
function entryOf(from: string, destination: string): string {
  const own = networkOf(from)
  if (own && !own.external) return own.name
  const aimed = networkOf(destination)
  return from !== '203.0.113.50' && aimed?.external ? aimed.name : 'vmbr0'
}

/** The kernel calls an own address from the interface's first one. */
function nodeSource(destination: string): string {
  const out = route(destination)
  const name = out === 'local' ? (networkOf(destination)?.name ?? 'vmbr0') : out
  return nodeAddress(name, familyOf(destination))
}

/** First and last ports of everything that the rules name, and their neighbours. */
function edges(spec: Spec): number[] {
  const all = [
    ...[...Object.values(spec.groups), spec.cluster, spec.host].flat(),
    ...Object.values(spec.guests).flatMap(({ lines: own }) => own),
  ]
  const named = all.flatMap((line): number[] => {
    if (line.kind === 'forward')
      return line.pairs.flatMap(({ external: [lo, hi] }) => [lo - 1, lo, hi, hi + 1, lo, hi])
    if (line.kind === 'hole' || line.kind === 'group') return []
    return (line.ports ?? []).flatMap(([lo, hi]) => [lo - 1, lo, hi, hi + 1])
  })
  return [...named, 22, 443, 2003, 2010]
}
