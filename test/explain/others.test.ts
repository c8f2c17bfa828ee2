// Filters and NAT of others on the way of a packet, as the real nft and iptables-save print them (fixtures/nftables): which of them
// stops it, which lets it pass, and what explain does not claim to know.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { explain } from '../../src/explain/explain.ts'
import { parsePacket } from '../../src/explain/packet.ts'
import { parseNftables } from '../../src/facts/nftables.ts'
import type { NodeFacts } from '../../src/facts/node-facts.ts'
import { FACTS, worldAt } from './world.ts'

const NOTHING = { 4: '', 6: '' }
const FILES = new Map([
  ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -source 10.10.10.0/24 # NAT\n'],
  [
    'firewall/105.fw',
    '[OPTIONS]\nenable: 1\n[RULES]\nIN SSH(ACCEPT) # NAT 2222\nIN HTTP(ACCEPT) # NAT 8080\n',
  ],
  ['firewall/110.fw', '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT # NAT\n'],
])

const native = (name: string): Partial<NodeFacts> => ({
  nftables: parseNftables(readFileSync(`fixtures/nftables/${name}.json`, 'utf8'), NOTHING),
})
const savedIn = (table: string, ...lines: string[]): Partial<NodeFacts> => {
  const text = [`*${table}`, ':PREROUTING ACCEPT [0:0]', ':POSTROUTING ACCEPT [0:0]', ...lines, 'COMMIT', '']
  return { tables: { ...FACTS.tables, legacy: { 4: text.join('\n'), 6: '' } } }
}
const saved = (backend: 'legacy' | 'nft', ...lines: string[]): Partial<NodeFacts> => {
  const text = ['*filter', ':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ...lines, 'COMMIT', ''].join('\n')
  return { tables: { ...FACTS.tables, [backend]: { 4: text, 6: '' } } }
}

/** Bridged packets meet neither iptables nor the chains of nft for packets. */
const UNBRIDGED = { sysctls: new Map([...FACTS.sysctls, ['net/bridge/bridge-nf-call-iptables', '0']]) }

const DOCKER = [
  ':DOCKER - [0:0]',
  ':DOCKER-USER - [0:0]',
  ':PVEFW-FORWARD - [0:0]',
  '-A FORWARD -j DOCKER-USER',
  '-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  '-A FORWARD -o docker0 -j DOCKER',
  '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT',
  '-A FORWARD -j PVEFW-FORWARD',
]

const IN = 'tcp 198.51.100.7 203.0.113.2:2222'
const OUT = 'tcp 10.10.10.105 203.0.113.1:25'

test.each<[name: string, facts: Partial<NodeFacts>, packet: string, gets: string, says: RegExp]>([
  [
    'firewalld accepts what was forwarded',
    native('firewalld'),
    IN,
    'through',
    /sends it to 10\.10\.10\.105:22/,
  ],
  [
    'firewalld rejects egress that no policy of it allows',
    native('firewalld'),
    OUT,
    'stopped',
    /stop: A rule that is not pvenat's drops it\. .*inet firewalld filter_FWD_public: handle \d+.*insert rule inet firewalld filter_FORWARD ip saddr 10\.10\.10\.105 oifname vmbr0 accept.*firewalld made these rules/,
  ],
  [
    'a destination that it allows',
    native('firewalld'),
    'tcp 10.10.10.105 198.51.100.7:8080',
    'through',
    /seen as/,
  ],
  [
    'a zone that it allows',
    { ...native('firewalld'), ...UNBRIDGED },
    'tcp 10.20.20.110 198.51.100.7:25',
    'through',
    /seen as/,
  ],
  [
    'a firewall bridge, which is in no zone of it',
    native('firewalld'),
    'tcp 10.20.20.110 198.51.100.7:25',
    'stopped',
    /drops it\. .*insert rule inet firewalld filter_FORWARD ip saddr 10\.20\.20\.110 oifname fwbr110i0 accept/,
  ],
  [
    'Docker leaves alone what is not on its bridges, and may drop what another table says',
    native('docker'),
    IN,
    'unknown',
    /may drop the answer; explain cannot read all of it.*raw-firewall strange/,
  ],
  [
    'a port that Docker publishes',
    native('docker'),
    'tcp 198.51.100.7 203.0.113.2:8080',
    'unknown',
    /translates it, too, and may come first.*docker-bridges nat-prerouting-and-output/,
  ],
  ['libvirt looks at its own bridge only', native('libvirt'), IN, 'through', /sends it/],
  ['Docker in iptables looks at its own bridge only', saved('legacy', ...DOCKER), IN, 'through', /sends it/],
  [
    'DOCKER-USER drops a port',
    saved(
      'legacy',
      ...DOCKER,
      '-A DOCKER-USER ! -s 192.0.2.0/24 -p tcp -m multiport --dports 21:23,443 -j DROP',
    ),
    IN,
    'stopped',
    /drops it\. iptables-legacy-save: -A DOCKER-USER.*iptables-legacy -w -I FORWARD -d 10\.10\.10\.105 -o vmbr1 -p tcp --dport 22 -j ACCEPT/,
  ],
  [
    'a condition that is not read',
    saved('nft', '-A FORWARD -m set --match-set somebody src -j DROP'),
    IN,
    'unknown',
    /may drop it/,
  ],
  [
    'pve-firewall lets answers pass ahead of it',
    saved(
      'nft',
      ':PVEFW-FORWARD - [0:0]',
      '-A FORWARD -j PVEFW-FORWARD',
      '-A FORWARD -s 10.10.10.0/24 -j REJECT --reject-with icmp-port-unreachable',
    ),
    IN,
    'through',
    /sends it/,
  ],
  [
    'it lets in and no answer out',
    saved(
      'nft',
      '-A FORWARD -d 10.10.10.105/32 -j ACCEPT',
      '-A FORWARD -s 10.10.10.0/24 -j REJECT --reject-with icmp-port-unreachable',
    ),
    IN,
    'stopped',
    /drops the answer.*-I FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT/,
  ],
  [
    'raw keeps it from connection tracking',
    savedIn('raw', '-A PREROUTING -p tcp -m tcp --dport 2222 -j CT --notrack'),
    IN,
    'stopped',
    /Nothing translates it: .*keeps it from connection tracking\. iptables-legacy-save: raw -A PREROUTING.*change that rule/,
  ],
  [
    'raw keeps the answer from connection tracking',
    savedIn('raw', '-A PREROUTING -p tcp -m tcp --sport 22 -j CT --notrack'),
    IN,
    'stopped',
    /Nothing translates its answer back: .*raw -A PREROUTING/,
  ],
  [
    'what is kept from tracking may be dropped behind that',
    savedIn('raw', '-A PREROUTING -p tcp -j CT --notrack', '-A PREROUTING -p tcp --dport 2222 -j DROP'),
    IN,
    'stopped',
    /drops it\. iptables-legacy-save: raw -A PREROUTING -p tcp --dport 2222 -j DROP/,
  ],
  [
    'mangle sees it before it is translated',
    savedIn('mangle', '-A PREROUTING -d 203.0.113.2/32 -p tcp --dport 22 -j DROP'),
    IN,
    'through',
    /sends it/,
  ],
  [
    'mangle sees the answer translated back, and its rule has no exception to type',
    savedIn('mangle', '-A POSTROUTING -s 10.10.10.105/32 -p tcp --sport 22 -j DROP'),
    IN,
    'stopped',
    /drops the answer\. iptables-legacy-save: mangle -A POSTROUTING.* change that rule/,
  ],
  [
    'a rule that only counts, and one for another interface',
    saved(
      'nft',
      '-A FORWARD -p tcp -j LOG --log-prefix "x y"',
      '-A FORWARD -i eth+ -j DROP',
      '-A FORWARD -p udp -j DROP',
    ),
    IN,
    'through',
    /sends it/,
  ],
])('%s', (_, facts, words, gets, says) => {
  const packet = parsePacket(words.split(' '))
  if (typeof packet === 'string') expect.fail(packet)
  const explained = explain(worldAt(FILES, facts), packet)
  const text = explained.steps.map(({ verdict, sentence, restsOn, fix }) =>
    [`${verdict}: ${sentence}`, ...restsOn, ...(fix?.commands ?? []), fix?.instead].join(' '),
  )
  expect({ gets: explained.gets, text: text.join('\n') }).toEqual({
    gets,
    text: expect.stringMatching(says) as string,
  })
})

test('of the nftables firewall the rules that it has loaded count, and its files say how to change them', () => {
  const files = new Map([
    ...FILES,
    ['nodes/pve1/host.fw', '[OPTIONS]\nnftables: 1\n'],
    ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\npolicy_forward: DROP\n[RULES]\n'],
  ])
  const at = (facts: Partial<NodeFacts>, from = files) => {
    const world = worldAt(from, facts)
    const packet = parsePacket(IN.split(' '))
    if (typeof packet === 'string') expect.fail(packet)
    const { gets, steps } = explain({ ...world, view: { ...world.view, firewall: 'nftables' } }, packet)
    return { gets, steps: JSON.stringify(steps) }
  }
  const loaded = at(native('proxmox'))
  expect(loaded).toMatchObject({ gets: 'stopped' })
  expect(loaded.steps).toMatch(
    /policy_forward is DROP.*proxmox-firewall cluster-forward.*--type forward --action ACCEPT/,
  )
  // Its files let it pass, but it has not loaded them.
  const stale = at(native('proxmox'), new Map([...files, ...FILES]))
  expect(stale).toMatchObject({ gets: 'stopped' })
  expect(stale.steps).toContain('systemctl restart proxmox-firewall')
  expect(at({})).toMatchObject({ gets: 'unknown' })
  expect(at(native('libvirt'), new Map([...files, ...FILES]))).toMatchObject({ gets: 'through' })
})
