// Networks that full=1 maps as a whole: each address leads to its own place and comes back from there, but for those that are left out.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatIp, mappedInto, network, parseIp, type Family, type Range } from '../../src/address.ts'
import { compile } from '../../src/pipeline.ts'
import { SEED } from '../seed.ts'
import { trace, type Packet } from '../tracer/tracer.ts'
import { lookAt, NODE, SURROUNDINGS } from '../tracer/world.ts'

const ip = (text: string): Range => parseIp(text) as Range
const text = ({ family, lo }: Range) => formatIp(family, lo)

const PLACES = {
  4: {
    outer: '198.18.7.0',
    inner: '10.10.10.0',
    own: '10.10.10.1',
    host: '198.51.100.7',
    lengths: [25, 30],
  },
  6: { outer: '2001:db8:77::', inner: 'fd10::', own: 'fd10::1', host: '2001:db8:51::7', lengths: [64, 126] },
} as const

const maps = fc
  .tuple(
    fc.constantFrom<Family>(4, 6),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  )
  .chain(([family, at, offset]) => {
    const { outer, inner, lengths } = PLACES[family]
    const length = lengths[0] + Math.round(at * (lengths[1] - lengths[0]))
    const place = offset & (family === 4 ? 127n : 0n)
    const networks = [outer, inner].map((one) => network(family, ip(one).lo + place, length))
    const [from, to] = networks as [Range, Range]
    const some = fc.bigInt({ min: 0n, max: from.hi - from.lo }).map((n): Range => {
      const lo = from.lo + n
      return { family, lo, hi: lo }
    })
    const clients = fc.constantFrom(
      '',
      `-source ${PLACES[family].host} `,
      `-source ${family === 4 ? '192.0.2.9' : '2001:db8:51::8'} `,
    )
    return fc.record({
      family: fc.constant(family),
      from: fc.constant(from),
      to: fc.constant(to),
      length: fc.constant(length),
      clients,
      snat: fc.boolean(),
      named: fc.array(some, { maxLength: 4 }),
      asked: fc.array(some, { minLength: 1, maxLength: 8 }),
    })
  })

test('each address leads to its place and leaves as it, but for those that are left out', () => {
  fc.assert(
    fc.property(maps, ({ family, from, to, length, clients, snat, named, asked }) => {
      const { own, host } = PLACES[family]
      const names = named.map(
        (one) => `IN ACCEPT -dest ${text(mappedInto(to, one))} -p tcp -dport 9 # NAT ${bracketed(one)}:9`,
      )
      const rule = `IN ACCEPT ${clients}# NAT ${text(from)}/${length} full=1 to=${text(to)}/${length}${snat ? ' snat=1' : ''}`
      const file = ['[OPTIONS]', 'enable: 1', '[RULES]', rule, ...names, ''].join('\n')
      const files = new Map([
        [`nodes/${NODE}/host.fw`, file],
        ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n'],
      ])
      const { ruleset } = compile(lookAt(files))
      const isHeard = clients === '' || clients.includes(host)
      for (const one of [...asked, ...named]) {
        const inner = mappedInto(to, one)
        const isLeft = text(inner) === own || named.some(({ lo }) => lo === one.lo)
        const packet: Packet = {
          source: host,
          destination: text(one),
          proto: 'udp',
          sport: 4000,
          dport: 53,
          state: 'NEW',
        }
        const arrived = trace(ruleset, { ...packet, in: 'vmbr0' }, SURROUNDINGS)
        expect(arrived).toMatchObject({
          to: isLeft || !isHeard ? text(one) : text(inner),
          port: 53,
          seenAs: snat && !isLeft && isHeard ? own : host,
        })
        if (text(inner) === own) continue
        if (named.includes(one)) {
          const call: Packet = { ...packet, in: 'vmbr0', proto: 'tcp', dport: 9 }
          // Its own rule has no snat=1.
          expect(trace(ruleset, call, SURROUNDINGS)).toMatchObject({ to: text(inner), port: 9, seenAs: host })
        }
        const out = { ...packet, in: 'vmbr1', source: text(inner), destination: host }
        expect(trace(ruleset, out, SURROUNDINGS)).toMatchObject({
          to: host,
          seenAs: text(isLeft ? inner : one),
        })
      }
    }),
    { numRuns: 150, seed: SEED },
  )
})

function bracketed(address: Range): string {
  return address.family === 6 ? `[${text(address)}]` : text(address)
}
