// Rules of others that take the marks of pvenat away: their bits, their order, and the packets that they meet.
import { expect, test } from 'vitest'
import { network, parseIp, type Range } from '../../src/address.ts'
import { markSetters } from '../../src/facts/mark-setters.ts'
import { parseNftables } from '../../src/facts/nftables.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { plainNetwork } from '../network.ts'

const inside = network(4, (parseIp('10.10.10.0') as Range).lo, 24)
const view = {
  settings: DEFAULT_SETTINGS,
  network: plainNetwork([], [{ bridge: 'vmbr1', network: inside }]),
}
const NOTHING = { 4: '', 6: '' }
const MARK = { meta: { key: 'mark' } }

/** Who takes marks away by a rule of nft with these conditions and this new mark. */
function native(value: unknown, prio = -150, conditions: unknown[] = [], family = 'ip') {
  const about = { family, table: 'wg-quick-wg1' }
  const base = { type: 'filter', hook: 'prerouting', prio, policy: 'accept' }
  const rule = {
    ...about,
    chain: 'premangle',
    handle: 5,
    expr: [...conditions, { mangle: { key: MARK, value } }],
  }
  const text = JSON.stringify({
    nftables: [{ table: about }, { chain: { ...about, name: 'premangle', ...base } }, { rule }],
  })
  const nftables = parseNftables(text, NOTHING)
  return markSetters({ nftables, tables: { legacy: NOTHING, nft: NOTHING }, backend: 'nft' }, 4, view)
}

const found = (isBehind: boolean, proto?: string): unknown[] => [expect.objectContaining({ isBehind, proto })]
const match = (left: unknown, right: unknown) => ({ match: { op: '==', left, right } })
const meta = (key: string) => ({ meta: { key } })

test('wg-quick’s rule of nft: at one priority nobody can tell which of the two comes first', () => {
  const restore = { ct: { key: 'mark' } }
  const udp = [match(meta('l4proto'), 'udp')]
  expect(native(restore, -150, udp)).toEqual(found(false, 'udp'))
  expect(native(restore, -149, udp)).toEqual(found(true, 'udp'))
  expect(native(restore, -151, udp)).toEqual([])
  expect(native(restore, -150, udp, 'inet')).toEqual(found(false, 'udp'))
  expect(native(restore, -150, udp, 'ip6')).toEqual([])
  expect(native(restore)[0]?.place).toBe('nft -a list chain ip wg-quick-wg1 premangle: handle 5')
})

test.each<[string, unknown, boolean]>([
  ['a number', 7, true],
  ['the old mark', MARK, false],
  ['with other bits set', { '|': [MARK, 7] }, false],
  ['with a bit of ours set', { '|': [MARK, 0x01000000] }, true],
  ['with other bits cleared', { '&': [MARK, 0xffffff00] }, false],
  ['with bits of ours cleared', { '|': [{ '&': [MARK, 0xffff] }, 7] }, true],
  ['with a bit of ours flipped', { '^': [MARK, 0x01000000] }, true],
])('a new mark: %s', (_, value, isFound) => {
  expect(native(value)).toEqual(isFound ? found(false) : [])
})

test.each<[string, unknown, boolean]>([
  ['from the bridge of guests', match(meta('iifname'), 'vmbr1'), true],
  ['from bridges of such names', match(meta('iifname'), 'vmbr*'), true],
  ['from an uplink', match(meta('iifname'), 'eth1'), false],
  ['from a guest', match({ payload: { protocol: 'ip', field: 'saddr' } }, '10.10.10.7'), true],
  ['from elsewhere', match({ payload: { protocol: 'ip', field: 'saddr' } }, '192.0.2.7'), false],
])('packets %s', (_, condition, isFound) => {
  expect(native(7, -150, [condition])).toEqual(isFound ? found(false) : [])
})

test.each([
  ['-p udp -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff', 'udp'],
  ['-j MARK --set-xmark 0x5/0xffffffff', undefined],
  ['-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff', 'none'],
  ['-j MARK --set-xmark 0x10/0x10', 'none'],
  ['-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff', 'none'],
])('iptables %s', (words, proto) => {
  const text = `*mangle\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n-A PREROUTING -j PVENAT-UPLINK\n-A PREROUTING ${words}\n-A POSTROUTING ${words}\nCOMMIT\n`
  const nftables = parseNftables('', NOTHING)
  const by = (backend: 'legacy' | 'nft') =>
    markSetters({ nftables, tables: { legacy: { 4: text, 6: '' }, nft: NOTHING }, backend }, 4, view)
  // In the table of pvenat the jump to its chain comes first.
  expect(by('legacy')).toEqual(proto === 'none' ? [] : found(true, proto))
  expect(by('nft')).toEqual(proto === 'none' ? [] : found(false, proto))
})
