/** Rules at random. Ports and addresses are few, so that rules overlap. */
import fc from 'fast-check'
import { anyShape, externals, holeShape, proto } from './shapes.ts'
import { anySource, names, type Owner } from './somewhere.ts'
import { lineText, type Block, type Egress, type Entry, type Forward, type Full, type Hole } from './spec.ts'
import type { Line, Rule, Spec } from './spec.ts'
import { EXTERNAL, INNER, OWNERS } from './world.ts'

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
        off: rarely,
        source: anySource(owner),
        address: anyExternal,
        iface: ifaceOf(owner),
        inner: innerOf(owner),
        hairpin: rarely.map((is) => !is),
        snat: rarely,
      }),
    })
    .map(({ shape, rest }) => ({ ...given(rest), ...shape, kind: 'forward' }))

/** Of an address that the node can spare. */
const full = (owner: Owner): fc.Arbitrary<Full> =>
  fc
    .record({
      off: rarely,
      source: anySource(owner),
      address: fc.constantFrom(...EXTERNAL),
      iface: ifaceOf(owner),
      inner: innerOf(owner),
      hairpin: rarely.map((is) => !is),
      snat: rarely,
    })
    .map((rest) => ({ ...given(rest), kind: 'full' }))

const hole = (owner: Owner): fc.Arbitrary<Hole> =>
  fc
    .record({
      shape: holeShape,
      rest: fc.record({ off: rarely, source: anySource(owner), inner: innerOf(owner) }),
    })
    .map(({ shape, rest }) => ({ ...given(rest), ...shape, kind: 'hole' }))

const flows = (sources: fc.Arbitrary<string | undefined>, dests: fc.Arbitrary<string | undefined>) =>
  fc.record({
    source: sources,
    dest: dests,
    ports: fc.oneof(
      fc.constant({}),
      proto.map((one) => ({ proto: one })),
      fc.record({ proto, ports: externals }),
    ),
  })

const LANS = [
  '10.10.10.0/24',
  '10.10.10.105',
  '10.20.20.0/24',
  '10.10.10.105,10.20.20.0/24',
  'fd10::/64',
  'fd20::110',
  '10.10.10.105-10.10.10.107',
  'dc/lan',
  '+lans',
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
      ...given(sides),
      ...ports,
      ...given(rest),
      ...what,
      kind: 'egress',
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
    { weight: 2, arbitrary: full(owner) },
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
    cluster,
    host,
    guests: Object.fromEntries(OWNERS.map(({ vmid }, i) => [vmid, guests[i] as (typeof guests)[0]])),
  }))

const LANS_SET: Entry[] = [
  { text: 'lan', nomatch: false },
  { text: '10.10.10.104/29', nomatch: true },
  { text: '10.10.10.107', nomatch: false },
  { text: 'fd20::/64', nomatch: false },
]
