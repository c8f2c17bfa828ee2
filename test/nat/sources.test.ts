// Two lists of addresses have some in common exactly when two of their ranges overlap.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { intersects, type Range } from '../../src/address.ts'
import { matchOf } from '../../src/nat/match.ts'
import { sourcesMeet } from '../../src/nat/sources.ts'

const range = fc
  .tuple(fc.bigInt(0n, 60n), fc.bigInt(0n, 8n))
  .map(([lo, width]): Range => ({ family: 4, lo, hi: lo + width }))
const lists = fc.array(range, { minLength: 1, maxLength: 6 })

test('lists meet when ranges of theirs overlap', () => {
  fc.assert(
    fc.property(lists, lists, (a, b) => {
      expect(sourcesMeet(matchOf(a, 'list'), matchOf(b, 'list'))).toBe(intersects(a, b))
    }),
  )
})
