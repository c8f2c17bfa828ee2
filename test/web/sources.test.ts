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
  const { take, give } = makeShare(2)
  expect(['a', 'a', 'a', 'b'].map(take)).toEqual([true, true, false, true])
  give('a')
  expect(['a', 'a'].map(take)).toEqual([true, false])
})
