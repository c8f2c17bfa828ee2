// One source is an IPv4 address or an IPv6 network.
import { expect, test } from 'vitest'
import { makeShare, sourceOf } from '../../src/web/sources.ts'

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3::4', '2001:db8:1:2::/64'],
  ['fe80::1%vmbr0', 'fe80::/64'],
  [undefined, ''],
])('%s is %s', (address, source) => expect(sourceOf(address)).toBe(source))

test('a share is taken and given back, each source its own', () => {
  const take = makeShare(2)
  const [giveBack, ...others] = ['a', 'a', 'a', 'b'].map(take)
  expect(others.map((one) => one !== undefined)).toEqual([true, false, true])
  giveBack?.()
  expect(['a', 'a'].map((source) => take(source) !== undefined)).toEqual([true, false])
})
