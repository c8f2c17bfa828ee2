// Which shapes pair is in the golden cases; here is that what pairs is right port by port.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pairPorts, type PortPair } from '../../src/nat/pairing.ts'
import type { Template } from '../../src/nat/template.ts'
import type { PortRange } from '../../src/ports.ts'

function template(proto: string, dports: PortRange[], sports: PortRange[] = []): Template {
  return { proto, dports, sports }
}

/** Every external port with the inner one that it leads to. */
function flat(pairs: readonly PortPair[] | undefined): string[] | undefined {
  return pairs?.flatMap(({ proto, external: [lo, hi], inner, single }) =>
    Array.from({ length: hi - lo + 1 }, (_, i) => `${proto} ${lo + i}>${single ? inner : inner + i}`),
  )
}

test('ports that several rows of a macro share pair once, for each protocol', () => {
  const dns = [template('udp', [[53, 53]]), template('tcp', [[53, 53]])]
  expect(flat(pairPorts(dns, [[5353, 5353]]))).toEqual(['udp 5353>53', 'tcp 5353>53'])
  expect(flat(pairPorts(dns, []))).toEqual(['udp 53>53', 'tcp 53>53'])
})

test('a source port that the macro demands stays with its row', () => {
  const rows = [template('udp', [[500, 500]], [[500, 500]]), template('udp', [[4500, 4500]])]
  expect(pairPorts(rows, [])?.map(({ external, sport }) => [external[0], sport])).toEqual([
    [500, [500, 500]],
    [4500, undefined],
  ])
})

test('no inner ports: the same inside, for tcp and udp when no protocol is named', () => {
  expect(flat(pairPorts([template('', [])], [[20, 21]]))).toEqual([
    'tcp 20>20',
    'tcp 21>21',
    'udp 20>20',
    'udp 21>21',
  ])
  expect(flat(pairPorts([template('sctp', [])], [[20, 20]]))).toEqual(['sctp 20>20'])
})

const range = fc
  .tuple(fc.integer({ min: 1, max: 60000 }), fc.integer({ min: 0, max: 9 }))
  .map(([lo, width]): PortRange => [lo, lo + width])

test('lists pair item by item, shifted, if and only if their shapes agree', () => {
  const list = fc.uniqueArray(range, { minLength: 2, maxLength: 4, selector: String })
  fc.assert(
    fc.property(list, list, (inner, external) => {
      const pairs = pairPorts([template('tcp', inner)], external)
      const width = ([lo, hi]: PortRange): number => hi - lo + 1
      const fits =
        inner.length === external.length &&
        external.every((one, i) => [1, width(one)].includes(width(inner[i] as PortRange)))
      expect(pairs !== undefined).toBe(fits)
      if (!pairs) return
      const expected = external.flatMap((one, i) => {
        const [lo] = inner[i] as PortRange
        const step = width(inner[i] as PortRange) === width(one) ? 1 : 0
        return Array.from({ length: width(one) }, (_, k) => `tcp ${one[0] + k}>${lo + k * step}`)
      })
      expect(flat(pairs)).toEqual(expected)
    }),
  )
})
