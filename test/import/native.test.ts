// Native rules of nft, as `nft -j list ruleset` prints them.
import { expect, test } from 'vitest'
import { parseNftables } from '../../src/facts/nftables.ts'
import { switchable } from '../../src/import/trial.ts'
import { renderImport } from '../../src/show/import.ts'
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
  ]
  const read = parseNftables(JSON.stringify({ nftables }), EMPTY)
  const found = await importLines({ nftables: read })
  expect(says(found)).toEqual([
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 822',
    'firewall/105.fw IN ACCEPT -p tcp -dport 80,443 # NAT',
    'stays: pvenat has nothing for \'{"limit":{"rate":5,"per":"second"}}\'',
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 # NAT',
  ])
  expect(switchable(found.all)).toEqual([])
  const told = (handle: number) =>
    `  --switch leaves it; when its rule is on, take it out:\n    nft delete rule ip mine in handle ${handle}\n`
  expect(renderImport(found.all)).toContain(told(1))
  expect(renderImport(found.all)).not.toContain(told(3))
})
