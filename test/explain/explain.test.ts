// What explain says rests on what was read, and what could not be read it says.
import { describe, expect, test } from 'vitest'
import { parseIp, type Range } from '../../src/address.ts'
import { explain } from '../../src/explain/explain.ts'
import { parsePacket } from '../../src/explain/packet.ts'
import type { Explanation } from '../../src/explain/step.ts'
import type { NftChain } from '../../src/facts/nftables.ts'
import { parseGuestConfig } from '../../src/guest/config.ts'
import type { World } from '../../src/explain/world.ts'
import { parseListeners } from '../../src/nat/sockets.ts'
import { FACTS, worldAt } from './world.ts'

const CLUSTER = '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -source 10.10.10.0/24 # NAT\n'

function asked(world: World, words: string): Explanation {
  const packet = parsePacket(words.split(' '))
  if (typeof packet === 'string') expect.fail(packet)
  return explain(world, packet)
}

const sentences = ({ steps }: Explanation): string =>
  steps.map(({ verdict, sentence }) => `${verdict}: ${sentence}`).join('\n')

test('what could not be read is said, since other steps may rest on it', () => {
  const world = worldAt(new Map([['firewall/cluster.fw', CLUSTER]]), {
    unread: ['ip -j neigh show: permission denied'],
  })
  expect(sentences(asked(world, 'tcp 10.10.10.105 198.51.100.7:443'))).toContain(
    'unknown: Something could not be read, so what rests on it may be wrong: ip -j neigh show: permission denied.',
  )
})

test('without an answer of the kernel the way ends in a ?', () => {
  const world = { ...worldAt(new Map([['firewall/cluster.fw', CLUSTER]])), askWay: () => undefined }
  const explained = asked(world, 'tcp 10.10.10.105 198.51.100.7:443')
  expect(explained.gets).toBe('unknown')
  expect(sentences(explained)).toMatch(
    /unknown: Which way it takes to 10\.10\.10\.105 the kernel did not tell\.$/,
  )
})

const GUEST_ON = '[OPTIONS]\nenable: 1\npolicy_out: ACCEPT\n'
const wire = (vmid: number, kind: string): Partial<typeof FACTS> => ({
  tables: { ...FACTS.tables, legacy: { 4: `*filter\n:${kind}${vmid}i0-OUT - [0:0]\n`, 6: '' } },
})

test.each([
  [
    'a container, whose configured address Proxmox VE adds itself',
    108,
    'veth',
    '[IPSET ipfilter-net0]\n10.10.10.9\n',
    'through',
  ],
  ['a container with the option ipfilter', 108, 'veth', 'ipfilter: 1\n', 'through'],
  ['a VM with the option ipfilter, which lets it send as nothing', 107, 'tap', 'ipfilter: 1\n', 'stopped'],
  ['a VM that its set does not hold', 107, 'tap', '[IPSET ipfilter-net0]\n10.10.10.9\n', 'stopped'],
  ['a VM that its set holds', 107, 'tap', '[IPSET ipfilter-net0]\n10.10.10.107\n', 'through'],
])('%s', (_, vmid, kind, text, gets) => {
  const files = new Map([
    ['firewall/cluster.fw', CLUSTER],
    [`firewall/${vmid}.fw`, GUEST_ON + text],
  ])
  const explained = asked(worldAt(files, wire(vmid, kind)), `tcp 10.10.10.${vmid} 198.51.100.7:443`)
  expect(explained.gets, sentences(explained)).toBe(gets)
  expect(sentences(explained).includes('ipset ipfilter-net0 does not hold the source')).toBe(
    gets === 'stopped',
  )
})

test('what is dropped before the rules is not mended by a rule', () => {
  const filtered = new Map([
    ['firewall/cluster.fw', CLUSTER],
    ['firewall/107.fw', `${GUEST_ON}ipfilter: 1\n`],
  ])
  const fix = (world: World, words: string) => asked(world, words).steps.at(-1)?.fix
  const api = '/nodes/pve1/qemu/107/firewall/ipset'
  expect(fix(worldAt(filtered, wire(107, 'tap')), 'tcp 10.10.10.107 198.51.100.7:443')?.commands).toEqual([
    `pvesh create ${api} --name ipfilter-net0`,
    `pvesh create ${api}/ipfilter-net0 --cidr 10.10.10.107`,
  ])
  const black = new Map([['firewall/cluster.fw', `${CLUSTER}[IPSET blacklist]\n198.51.100.0/24\n`]])
  const chain = { ...FACTS.tables, legacy: { 4: '*filter\n:PVEFW-HOST-IN - [0:0]\n', 6: '' } }
  const stopped = fix(worldAt(black, { tables: chain }), 'icmp 198.51.100.7 203.0.113.2')
  expect(stopped).toEqual({
    commands: [],
    instead: 'take 198.51.100.7 out of the ipset blacklist of the datacenter',
  })
})

/** With a service on 0.0.0.0:8006. */
function serving(world: World): World {
  const line =
    '   0: 00000000:1F46 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1'
  const listeners = parseListeners({ tcp: [`header\n${line}\n`], udp: [] })
  return { ...world, view: { ...world.view, listeners } }
}

test('a service that listens for IPv4 alone serves no IPv6', () => {
  const world = worldAt(new Map([['firewall/cluster.fw', CLUSTER]]))
  const served = serving(world)
  expect(asked(served, 'tcp 198.51.100.7 203.0.113.2:8006').gets).toBe('through')
  expect(sentences(asked(served, 'tcp 2001:db8:51::7 [2001:db8:113::2]:8006'))).toContain(
    'nothing listens at',
  )
})

test('what a forward sends to the node itself meets its firewall as it is by then', () => {
  const rules = 'IN ACCEPT -p tcp -dport 8006 # NAT 18006 to=10.10.10.1\nIN ACCEPT -p tcp -dport 8006\n'
  const files = new Map([['firewall/cluster.fw', `[OPTIONS]\nenable: 1\n[RULES]\n${rules}`]])
  const world = worldAt(files, {
    tables: { ...FACTS.tables, legacy: { 4: '*filter\n:PVEFW-HOST-IN - [0:0]\n', 6: '' } },
  })
  const explained = asked(serving(world), 'tcp 198.51.100.7 203.0.113.2:18006')
  expect(sentences(explained)).not.toContain('No rule that is marked NAT')
  expect(sentences(explained)).toContain('lets it in: rule IN ACCEPT')
})

describe('with the nftables firewall of Proxmox VE', () => {
  const rule = (options: string): ReadonlyMap<string, string> =>
    new Map([
      ['firewall/cluster.fw', CLUSTER],
      [
        'firewall/107.fw',
        `[OPTIONS]\nenable: 1\n[RULES]\nIN ACCEPT -dest 10.10.10.107 -p tcp -dport 22 ${options}\n`,
      ],
    ])
  const guests = (name: string): NftChain => {
    const table = { family: 'bridge', table: 'proxmox-firewall-guests' } as const
    return { ...table, name, type: '', hook: '', priority: 0, policy: 'accept', rules: [] }
  }
  const nftables = (options: string, isLoaded = true): World => {
    const chains = isLoaded ? ['guest-107-in', 'guest-107-out'].map(guests) : []
    const world = worldAt(rule(options), { nftables: { chains, sets: new Map() } })
    return { ...world, view: { ...world.view, firewall: 'nftables' } }
  }
  const called = 'tcp 198.51.100.7 203.0.113.2:822'

  test('rules of the guest count although no chain of iptables holds them', () => {
    const explained = asked(nftables('# NAT 822'), called)
    expect(explained.gets, sentences(explained)).toBe('through')
    expect(sentences(explained)).toContain('lets it in: rule IN ACCEPT')
  })

  test('a source port is a condition that no client fulfils, and no accept of ours helps', () => {
    const explained = asked(nftables('-sport 822 # NAT ssh in'), called)
    expect(explained.gets, sentences(explained)).toBe('stopped')
    expect(sentences(explained)).toContain('The firewall of guest 107')
    expect(sentences(explained)).not.toContain('ahead of pve-firewall')
  })

  test('without its table for guests no rule of theirs counts', () => {
    const explained = asked(nftables('-sport 822 # NAT ssh in', false), called)
    expect(explained.gets, sentences(explained)).toBe('through')
    expect(sentences(explained)).toContain('proxmox-firewall has no table for guests')
  })

  test('the firewall of the node counts, too', () => {
    const world = serving(nftables('# NAT 822'))
    expect(sentences(asked(world, 'tcp 198.51.100.7 203.0.113.2:8006'))).toContain('the firewall of the node')
  })
})

test.each([
  ['', 0],
  ['OUT ACCEPT -source 10.10.10.0/24 # NAT\n', 1],
])('the gateway of a guest is changed only where it can go out by this node: %j', (out, commands) => {
  const world = worldAt(new Map([['firewall/cluster.fw', `[OPTIONS]\nenable: 1\n[RULES]\n${out}`]]))
  const config = (world.configs.get(105) ?? '').replace(/gw=10\.10\.10\.1\b/, 'gw=10.10.10.254')
  const guests = world.view.guests.map((one) =>
    one.guest.vmid === 105 ? { ...one, guest: parseGuestConfig(config, 105, one.guest.type) } : one,
  )
  const { steps } = asked({ ...world, view: { ...world.view, guests } }, 'tcp 10.10.10.105 198.51.100.7:443')
  expect(steps.at(-1)?.sentence).toMatch(/sends by net0 to 10\.10\.10\.254, past this node/)
  expect(steps.at(-1)?.fix?.commands).toHaveLength(commands)
})

describe('a policy of FORWARD that is DROP', () => {
  const DROP = '*filter\n:FORWARD DROP [0:0]\n'
  const CALL = 'tcp 10.10.10.105 10.20.20.110:80'
  const RULES = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 22 # NAT 1022\n'
  /** What is said with these rules in the tables of a backend, behind the policy. */
  const said = (backend: 'legacy' | 'nft', words: string, lines = '') => {
    const tables = { ...FACTS.tables, [backend]: { 4: `${DROP}${lines}COMMIT\n`, 6: '' } }
    const files = new Map([['firewall/cluster.fw', `${CLUSTER}${RULES}`]])
    return asked(worldAt(files, { tables }), words)
  }

  test.each([
    ['nft', 'tcp 203.0.113.9 203.0.113.2:1022'],
    ['nft', 'tcp 10.10.10.105 198.51.100.7:443'],
    ['nft', CALL],
    ['legacy', CALL],
  ] as const)('in %s, %s: the fix lets it pass, and the policy stays', (backend, words) => {
    const { gets, steps } = said(backend, words)
    const commands = steps.at(-1)?.fix?.commands ?? []
    expect({ gets, commands: commands.length > 0 }).toEqual({ gets: 'stopped', commands: true })
    expect(commands.filter((line) => !line.startsWith(`iptables-${backend} -w -I FORWARD `))).toEqual([])
    const lines = commands.map((line) => `${line.replace(/^.* -I/, '-A')}\n`).join('')
    expect(said(backend, words, lines).gets, sentences(said(backend, words, lines))).toBe('through')
  })
})

describe('an address that no network of the node has', () => {
  const nowhere = '[OPTIONS]\nenable: 1\n[RULES]\nIN SSH(ACCEPT) -dest 10.77.7.7 # NAT 2222\n'

  test('what is forwarded there leaves outside again', () => {
    const explained = asked(
      worldAt(new Map([['firewall/cluster.fw', nowhere]])),
      'tcp 198.51.100.7 203.0.113.2:2222',
    )
    expect(explained.gets, sentences(explained)).toBe('stopped')
    expect(sentences(explained)).toContain('It leaves by vmbr0 again, because 10.77.7.7 is not inside')
  })

  test('what a guest has in its config does not come from there', () => {
    const world = worldAt(new Map([['firewall/cluster.fw', CLUSTER]]))
    const known = new Map(world.view.known)
    const own = { ip: { family: 4, lo: 0x0a_4d_07_07n, hi: 0x0a_4d_07_07n }, from: 'config' } as const
    const refused = [
      { ...own, nic: 0, why: 'it is in no network on vmbr1 in VLAN 7', isAstray: true },
    ] as const
    known.set(105, { seen: [], nics: new Map(), refused: [...refused] })
    const explained = asked({ ...world, view: { ...world.view, known } }, 'tcp 10.77.7.7 198.51.100.7:443')
    expect(explained.gets).toBe('stopped')
    expect(sentences(explained)).toMatch(
      /has 10\.77\.7\.7 in its config, .* no network on vmbr1 in VLAN 7\.$/,
    )
  })
})

test('what leaves untranslated by an interface that is no external one does not get through', () => {
  const world = worldAt(new Map())
  const network = { ...world.view.network, external: [] }
  const explained = asked({ ...world, view: { ...world.view, network } }, 'tcp 10.10.10.105 198.51.100.7:443')
  expect(explained.gets).toBe('stopped')
  expect(sentences(explained)).toContain('stop: It leaves by vmbr0 as 10.10.10.105: vmbr0 is no external')
})

test('a guest with a private network of its own on the uplink is not answered untranslated', () => {
  const world = worldAt(new Map([['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n']]))
  const { network } = world.view
  const [uplink] = network.external
  const lan = network.internal.find(({ bridge }) => bridge === 'vmbr1')
  if (!uplink || !lan?.address) expect.fail('the node has changed')
  const nextHops = [parseIp('203.0.113.1') as Range]
  const shared = { ...uplink, networks: [...uplink.networks, lan.network] }
  const internal = network.internal.filter(({ bridge }) => bridge !== 'vmbr1')
  const view = { ...world.view, network: { ...network, external: [shared], internal, nextHops } }
  const explained = asked({ ...world, view }, 'tcp 10.10.10.105 198.51.100.7:443')
  expect(explained.gets, sentences(explained)).toBe('stopped')
  expect(sentences(explained)).toContain('stop: Nothing translates its source')
})
