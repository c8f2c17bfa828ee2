// Findings by the facts that they rest on: versions, modules, a full table, what systemd says.
import { describe, expect, test } from 'vitest'
import { examine } from '../../src/checks/doctor.ts'
import type { Finding, Patient } from '../../src/checks/finding.ts'
import { configEdit, quoted, withOption } from '../../src/facts/fixes.ts'
import { foreignNat } from '../../src/facts/foreign.ts'
import { parseGuestConfig } from '../../src/guest/config.ts'
import { FACTS, worldAt } from '../explain/world.ts'
import { examined, FAULTS, withSysctl } from './worlds.ts'

const ids = (findings: readonly Finding[]) => findings.map(({ id, severity }) => `${severity} ${id}`)

test('a firewall that is off comes first, also where no rule depends on it', () => {
  const world = worldAt(new Map([['firewall/cluster.fw', '']]), { service: { running: false } })
  const findings = examine({ ...world, sdnSnat: [], differs: [], errors: 0 })
  expect(ids(findings)).toEqual(['warning firewall-off', 'warning service-stopped'])
})

test('a guest that only has forwards keeps its own gateway', () => {
  const files = new Map([
    ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n'],
    ['firewall/105.fw', '[OPTIONS]\nenable: 1\n[RULES]\nIN SSH(ACCEPT) # NAT 2222 web\n'],
  ])
  const world = worldAt(files)
  const elsewhere = (config: string) => config.replace(/gw=10\.10\.10\.1\b/, 'gw=10.10.10.254')
  const guests = world.view.guests.map((one) => ({
    ...one,
    guest: parseGuestConfig(
      elsewhere(world.configs.get(one.guest.vmid) ?? ''),
      one.guest.vmid,
      one.guest.type,
    ),
  }))
  const find = (granted: boolean) => {
    const settings = {
      ...world.view.settings,
      guests: new Map(granted ? [[105, { snat: true }]] : []),
    }
    const view = { ...world.view, settings, guests }
    return examine({ ...world, view, sdnSnat: [], differs: [], errors: 0 })
  }
  const why = expect.stringContaining('it answers this node (with [guest 105] snat = yes') as string
  expect(find(false)).toMatchObject([{ id: 'guest-gateway', fix: [], why }])
  expect(find(true)).toMatchObject([
    {
      id: 'guest-gateway',
      fix: [
        expect.stringMatching(
          /^pvesh set \/nodes\/pve1\/\w+\/105\/firewall\/rules\/0 --comment 'NAT 2222 snat=1 web'$/,
        ),
      ],
    },
  ])
})

test('a node without a fault', () => {
  expect(examined()).toEqual([])
  // Nothing is wanted of IPv6.
  expect(examined({}, withSysctl('net/ipv6/conf/all/forwarding', '0'))).toEqual([])
})

test('the keys of a finding stand in order', () => {
  const [finding] = examined({ errors: 2 })
  expect(Object.keys(finding ?? {})).toEqual(['id', 'severity', 'finding', 'restsOn', 'fix', 'why'])
})

test.each(FAULTS)('%s', (_, findings, id, fix) => {
  expect(ids(findings)).toEqual([id])
  expect(findings[0]?.fix).toEqual(fix)
})

test('foreign rules with anything in their comments are read by their conditions', () => {
  const save = [
    '*nat',
    ':PREROUTING ACCEPT [0:0]',
    `-A PREROUTING -d 203.0.113.2/32 ! -i vmbr1 -p tcp -m comment --comment "it's \\"x\\" -j SNAT" -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1`,
    '-A PVENAT-DNAT -p tcp -j DNAT --to-destination 10.0.0.2',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE',
    'COMMIT',
    '',
  ].join('\n')
  const found = foreignNat({ ...FACTS, tables: { ...FACTS.tables, legacy: { 4: save, 6: '' } } })
  expect(found.map(({ kind, chain, ports }) => ({ kind, chain, ports }))).toEqual([
    { kind: 'destination', chain: 'PREROUTING', ports: [[80, 80]] },
    { kind: 'source', chain: 'POSTROUTING', ports: undefined },
  ])
})

test('what a user typed is one word of a shell line', () => {
  expect(quoted('10.10.10.1/24,gw=10.10.10.1')).toBe('10.10.10.1/24,gw=10.10.10.1')
  expect(quoted(`NAT 822 it's $(reboot)`)).toBe(`'NAT 822 it'\\''s $(reboot)'`)
  const guest = { vmid: 105, name: 'x', type: 'lxc' as const, nics: [] }
  const nic = { index: 0, firewall: false, addresses: {}, gateways: {} }
  const config = 'net0: name=eth0,bridge=vmbr1;reboot,gw=10.0.0.1\n[snap]\nnet0: name=old\n'
  expect(configEdit(guest, nic, config, 'gw', '10.0.0.2')).toBe(
    `pct set 105 -net0 'name=eth0,bridge=vmbr1;reboot,gw=10.0.0.2'`,
  )
})

test('an option goes before the free text', () => {
  expect(withOption('NAT', 'snat=1')).toBe('NAT snat=1')
  expect(withOption('NAT 822 ssh in', 'snat=1')).toBe('NAT 822 snat=1 ssh in')
  expect(withOption('NAT: [2001:db8::7]:443 shop', 'snat=1')).toBe('NAT: [2001:db8::7]:443 snat=1 shop')
  expect(withOption('NAT ssh 22', 'snat=1')).toBe('NAT snat=1 ssh 22')
  expect(withOption('NAT:822 ssh', 'snat=1')).toBe('NAT:822 snat=1 ssh')
  expect(withOption('NAT:ssh in', 'snat=1')).toBe('NAT: snat=1 ssh in')
  expect(withOption('NAT auto', 'snat=1')).toBe('NAT auto snat=1')
})

test('no guest, or a table, or no need: nothing hangs behind a firewall bridge without its zone', () => {
  const { ruleset } = worldAt(new Map())
  const find = (facts: Partial<Patient['facts']>, hasBridgeZone = true) =>
    ids(examined({ ruleset: { ...ruleset, hasBridgeZone } }, facts))
  expect(find({})).toEqual(['error bridge-zone'])
  expect(find({}, false)).toEqual([])
  const links = FACTS.links.filter(({ name }) => !name.startsWith('fwbr'))
  expect(find({ links })).not.toContain('error bridge-zone')
  const at = { family: 'bridge', table: 'pvenat', name: 'prerouting', type: 'filter' } as const
  const chain = { ...at, hook: 'prerouting', priority: -300, policy: 'accept', rules: [] } as const
  expect(find({ nftables: { chains: [{ ...chain, rules: [] }], sets: new Map() } })).toEqual([])
})

test('what is left in the other backend is found whatever its chains are called', () => {
  const left = '*nat\n:PVENAT-EG-10.10.10.0/28 - [0:0]\n'
  const [finding] = examined({}, { tables: { legacy: { 4: '', 6: '' }, nft: { 4: left, 6: '' } } })
  expect(finding).toMatchObject({
    id: 'own-leftovers',
    fix: [
      'iptables-nft -w -t nat -F PVENAT-EG-10.10.10.0/28',
      'iptables-nft -w -t nat -X PVENAT-EG-10.10.10.0/28',
    ],
  })
})

describe('what pve-firewall cannot load', () => {
  const RULE = 'IN ACCEPT -p tcp -dport 80 -sport 8080 # NAT\n'
  const found = (cluster: string, guest = '', facts: Partial<Patient['facts']> = {}) => {
    const files = new Map([
      ['firewall/cluster.fw', `[OPTIONS]\nenable: 1\n${cluster}`],
      ['firewall/107.fw', `[OPTIONS]\nenable: 1\n${guest}`],
    ])
    const world = worldAt(files, facts)
    return examine({ ...world, sdnSnat: [], differs: [], errors: 0 })
  }

  test.each([
    ['loud', false],
    ['burst=3', false],
    ['1,burst=3,burst=4', false],
    ['enable=1,rate=0/second', false],
    ['1', true],
    ['enable=0,burst=10,rate=1/minute', true],
  ])('log_ratelimit: %s', (value, isFine) => {
    const findings = found(`log_ratelimit: ${value}\n`)
    expect(ids(findings)).toEqual(isFine ? [] : ['error cycle-fails'])
    if (!isFine)
      expect(findings[0]?.fix).toEqual(['pvesh set /cluster/firewall/options --delete log_ratelimit'])
  })

  test.each([
    ['IN ACCEPT -p sctp -dport ssh', ['pvesh set /nodes/pve1/qemu/107/firewall/rules/0 --dport 22']],
    ['IN ACCEPT -p 132 -sport ssh,80', ['pvesh set /nodes/pve1/qemu/107/firewall/rules/0 --sport 22,80']],
    ['|IN ACCEPT -p sctp -dport ssh', undefined],
    ['IN ACCEPT -p sctp -dport 22', undefined],
    ['IN ACCEPT -p tcp -dport ssh', undefined],
  ])('%s', (line, fix) => {
    const findings = found('', `[RULES]\n${line}\n`).filter(({ id }) => id === 'cycle-fails')
    expect(findings.map((one) => one.fix)).toEqual(fix ? [fix] : [])
  })

  test.each([
    ['[ALIASES]\nlong 1.2.3.4/33\n', ['error cycle-fails']],
    ['[IPSET long]\nfd00::/129\n', ['error cycle-fails']],
    ['[IPSET fine]\nfd00::/128\n10.0.0.1/8\n', []],
  ])('%j', (cluster, expected) => {
    expect(ids(found(cluster))).toEqual(expected)
  })

  test('a group that names what the datacenter lacks', () => {
    const group = (source: string) =>
      `[ALIASES]\noffice 198.51.100.7\n[group web]\nIN ACCEPT -source ${source}\n`
    const pull = '[RULES]\nGROUP web\n'
    const [finding, ...more] = found(group('guest/office'), pull)
    expect(more).toEqual([])
    expect(finding).toMatchObject({
      id: 'group-dies',
      restsOn: ['cluster.fw:6', '107.fw: GROUP web'],
      fix: ['pvesh set /cluster/firewall/groups/web/0 --source dc/office'],
    })
    expect(ids(found(group('dc/office'), pull))).toEqual([])
    expect(ids(found(group('guest/office'), '[RULES]\n|GROUP web\n'))).toEqual([])
  })

  test('a source port while pve-firewall uses the other backend', () => {
    const chain = { 4: '*filter\n:PVEFW-FORWARD - [0:0]\n', 6: '' }
    const none = { 4: '', 6: '' }
    const rules = `[RULES]\n${RULE}`
    expect(ids(found('', rules, { tables: { legacy: none, nft: chain } }))).toEqual(['error sport-backend'])
    expect(ids(found('', rules, { tables: { legacy: chain, nft: none } }))).toEqual([])
    const plain = rules.replace('-sport 8080 # NAT', '# NAT 8080')
    expect(ids(found('', plain, { tables: { legacy: none, nft: chain } }))).toEqual([])
  })
})
