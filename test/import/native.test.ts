// Native rules of nft, as `nft -j list ruleset` prints them.
import { expect, test } from 'vitest'
import { parseNftables } from '../../src/facts/nftables.ts'
import { switchable, type Imported } from '../../src/import/trial.ts'
import { EMPTY, importLines, says } from './saved.ts'

test('rules of nft itself are read as strictly', async () => {
  const match = (protocol: string, name: string, right: unknown, op = '==') => ({
    match: { op, left: { payload: { protocol, field: name } }, right },
  })
  const meta = (key: string, right: unknown) => ({ match: { op: '==', left: { meta: { key } }, right } })
  const chain = (name: string, hook: string) => ({
    chain: { family: 'ip', table: 'mine', name, type: 'nat', hook, prio: -100, policy: 'accept' },
  })
  const rule = (name: string, handle: number, ...expr: unknown[]) => ({
    rule: { family: 'ip', table: 'mine', chain: name, handle, expr },
  })
  const nftables = [
    chain('in', 'prerouting'),
    chain('out', 'postrouting'),
    rule(
      'in',
      1,
      meta('iifname', 'vmbr0'),
      match('tcp', 'dport', 822),
      { counter: { packets: 0, bytes: 0 } },
      { dnat: { addr: '10.10.10.105', port: 22 } },
    ),
    rule('in', 2, match('tcp', 'dport', { set: [80, 443] }), { dnat: { addr: '10.10.10.105' } }),
    rule(
      'in',
      3,
      match('tcp', 'dport', 81),
      { limit: { rate: 5, per: 'second' } },
      { dnat: { addr: '10.10.10.105' } },
    ),
    rule(
      'out',
      4,
      match('ip', 'saddr', { prefix: { addr: '10.10.10.0', len: 24 } }),
      meta('oifname', 'vmbr0'),
      { masquerade: null },
    ),
    rule('in', 5, match('tcp', 'dport', 8006), { dnat: { addr: '10.10.10.105' } }),
    rule(
      'out',
      6,
      match('ip', 'saddr', { prefix: { addr: '10.10.10.0', len: 24 } }),
      match('ip', 'daddr', '10.10.10.105'),
      match('tcp', 'dport', 22),
      { masquerade: null },
    ),
  ]
  const read = parseNftables(JSON.stringify({ nftables }), EMPTY)
  const found = await importLines({ nftables: read })
  expect(says(found)).toEqual([
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 822',
    'firewall/105.fw IN ACCEPT -p tcp -dport 80,443 # NAT',
    'stays: pvenat has nothing for \'{"limit":{"rate":5,"per":"second"}}\'',
    'firewall/105.fw IN ACCEPT -p tcp -dport 8006 # NAT',
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 # NAT',
    'built in: guests reach each other through the external address by themselves',
  ])
  expect(handles(found.all)).toEqual([1, 2, 4])
})

test('a rule for both families goes only when both have something in their place', async () => {
  const chain = { family: 'inet', table: 'mine', name: 'out', type: 'nat', hook: 'postrouting', prio: 100 }
  const rule = (handle: number, ...expr: unknown[]) => ({
    rule: { family: 'inet', table: 'mine', chain: 'out', handle, expr: [...expr, { masquerade: null }] },
  })
  const out = { match: { op: '==', left: { meta: { key: 'oifname' } }, right: 'vmbr0' } }
  const from = (protocol: string, addr: string, len: number) => ({
    match: { op: '==', left: { payload: { protocol, field: 'saddr' } }, right: { prefix: { addr, len } } },
  })
  const ofV4 = rule(1, from('ip', '10.10.10.0', 24), out)
  const limited = rule(2, from('ip6', 'fd10::', 64), { limit: { rate: 5, per: 'second' } }, out)
  const found = async (...rules: unknown[]) =>
    importLines({ nftables: parseNftables(JSON.stringify({ nftables: [{ chain }, ...rules] }), EMPTY) })
  expect(says(await found(ofV4))).toEqual(['firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 # NAT'])
  expect(handles((await found(ofV4, rule(3, out))).all)).toEqual([1, 3, 3])
  expect(handles((await found(ofV4, limited, rule(3, out))).all)).toEqual([1])
})

/** Of the rules of nft that `--switch` takes out. */
function handles(all: readonly Imported[]): number[] {
  return switchable(all).flatMap(({ written: { loaded } }) =>
    loaded && 'native' in loaded ? [loaded.native.handle] : [],
  )
}
