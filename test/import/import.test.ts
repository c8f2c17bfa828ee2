// What hand-written NAT rules become.
import { describe, expect, test } from 'vitest'
import { parseBootLines } from '../../src/facts/interfaces.ts'
import { createCommand, ruleLine, type GuiRule } from '../../src/import/guirule.ts'
import { switchable, tryRules } from '../../src/import/trial.ts'
import { compile } from '../../src/pipeline.ts'
import { renderPvesh } from '../../src/show/import.ts'
import { EMPTY, importLines, save, saved, says } from './saved.ts'

const IN = '-A PREROUTING -i vmbr0 -p tcp -m tcp'
const TWO = 'external vmbr0 203.0.113.2/24 203.0.113.3/24\ninternal vmbr1 10.10.10.1/24\n'

test.each([
  [
    'another port',
    `${IN} --dport 822 -j DNAT --to-destination 10.10.10.105:22`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 822',
  ],
  [
    'the same port',
    `${IN} --dport 80 -j DNAT --to-destination 10.10.10.105`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 80 # NAT',
  ],
  [
    'the same range',
    `${IN} --dport 5000:5009 -j DNAT --to-destination 10.10.10.105:5000-5009`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 5000:5009 # NAT',
  ],
  [
    'a range that is shifted',
    `${IN} --dport 6000:6009 -j DNAT --to-destination 10.10.10.105:5000-5009/6000`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 5000:5009 # NAT 6000-6009',
  ],
  [
    'a range to one port',
    `${IN} --dport 6000:6009 -j DNAT --to-destination 10.10.10.105:22`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 6000-6009',
  ],
  [
    'a list',
    `-A PREROUTING -p tcp -m multiport --dports 80,443 -j DNAT --to-destination 10.10.10.105`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 80,443 # NAT',
  ],
  [
    'one client',
    `${IN} -s 198.51.100.7/32 --dport 822 -j DNAT --to-destination 10.10.10.105:22`,
    'firewall/105.fw IN ACCEPT -source 198.51.100.7 -p tcp -dport 22 # NAT 822',
  ],
  [
    'an address of nobody',
    `${IN} --dport 81 -j DNAT --to-destination 10.10.10.99:80`,
    'firewall/cluster.fw IN ACCEPT -dest 10.10.10.99 -p tcp -dport 80 # NAT 81',
  ],
  [
    'the only address',
    `-A PREROUTING -d 203.0.113.2/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.10.10.105`,
    'firewall/105.fw IN ACCEPT -p udp -dport 53 # NAT',
  ],
  [
    'a protocol without ports',
    `-A PREROUTING -p gre -j DNAT --to-destination 10.10.10.105`,
    'firewall/105.fw IN ACCEPT -p gre # NAT',
  ],
  [
    'not from inside',
    `-A PREROUTING ! -s 10.10.10.0/24 -d 203.0.113.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.10.105`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 80 # NAT hairpin=0',
  ],
  [
    'not from a bridge',
    `-A PREROUTING ! -i vmbr1 -p tcp -m tcp --dport 80 -m comment --comment "web -j LOG" -j DNAT --to-destination 10.10.10.105`,
    'firewall/105.fw IN ACCEPT -p tcp -dport 80 # NAT',
  ],
  [
    'ports chosen by the kernel',
    `${IN} --dport 6000 -j DNAT --to-destination 10.10.10.105:5000-5009`,
    'stays: the kernel chooses among the ports 5000-5009: pvenat pairs each port with one',
  ],
  [
    'every port',
    `-A PREROUTING -d 203.0.113.2/32 -j DNAT --to-destination 10.10.10.105`,
    "stays: it takes everything that arrives at the node's own address, the GUI and ssh, too: name the ports",
  ],
  [
    'a limit',
    `${IN} --dport 80 -m limit --limit 5/sec -j DNAT --to-destination 10.10.10.105`,
    "stays: pvenat has nothing for '-m limit', '--limit 5/sec'",
  ],
  [
    'another interface',
    `-A PREROUTING -i wg0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.10.105`,
    'stays: wg0 is no external interface of this node',
  ],
  [
    'a network',
    '-A PREROUTING -i vmbr0 -d 198.51.100.96/28 -j NETMAP --to 10.10.10.96/28',
    'firewall/cluster.fw IN ACCEPT # NAT 198.51.100.96/28 full=1 to=10.10.10.96/28',
  ],
  [
    'a network of another size',
    '-A PREROUTING -d 198.51.100.96/28 -j NETMAP --to 10.10.10.0/24',
    'stays: the two networks are not of one size',
  ],
  [
    'the ports of a network',
    '-A PREROUTING -d 198.51.100.96/28 -p tcp -m tcp --dport 80 -j NETMAP --to 10.10.10.96/28',
    'stays: full=1 maps a network with all its ports',
  ],
  [
    'a network on its way out alone',
    '-A POSTROUTING -s 10.10.10.96/28 -o vmbr0 -j NETMAP --to 198.51.100.96/28',
    'stays: it maps the way out alone, and full=1 maps both',
  ],
  [
    'a service of the node',
    `${IN} --dport 80 -j REDIRECT --to-ports 8080`,
    'stays: it leads to a service of the node itself, which is no NAT for a guest',
  ],
  [
    'Docker',
    '-A PREROUTING -m addrtype --dst-type LOCAL -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80 -m comment --comment docker',
    'stays: Docker made it and puts it back: change it there',
  ],
  [
    'a network that goes out',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE',
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 # NAT',
  ],
  [
    'a guest that goes out',
    '-A POSTROUTING -s 10.10.10.105/32 ! -d 10.10.10.0/24 -j SNAT --to-source 203.0.113.2',
    'firewall/105.fw OUT ACCEPT # NAT',
  ],
  [
    'a destination that stays untranslated',
    '-A POSTROUTING -s 10.10.10.0/24 -d 10.8.0.0/16 -j ACCEPT',
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 -dest 10.8.0.0/16 # NAT none',
  ],
  [
    'mail alone',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -p tcp -m tcp --dport 25 -j MASQUERADE',
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 -p tcp -dport 25 # NAT',
  ],
  [
    'a foreign address',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j SNAT --to-source 198.51.100.9',
    'stays: 198.51.100.9 is no address of this node',
  ],
  [
    'the node itself',
    '-A OUTPUT -d 203.0.113.2/32 -p tcp -m tcp --dport 822 -j DNAT --to-destination 10.10.10.105:22',
    "built in: forwards hold for the node's own connections, too",
  ],
])('%s', async (_, line, expected) => {
  expect(says(await importLines(save([line])))).toEqual([expected])
})

test('an address of several and an interface of several are named', async () => {
  const lines = [
    '-A PREROUTING -d 203.0.113.3/32 -p tcp -m tcp --dport 822 -j DNAT --to-destination 10.10.10.105:22',
    '-A PREROUTING -d 203.0.113.3/32 -j DNAT --to-destination 10.10.10.105',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j SNAT --to-source 203.0.113.3',
  ]
  expect(says(await importLines(save(lines), TWO))).toEqual([
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 203.0.113.3:822',
    'firewall/105.fw IN ACCEPT # NAT 203.0.113.3 full=1',
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 # NAT 203.0.113.3',
  ])
  const nics = `${TWO}external wan1 198.51.100.2/24\n`
  const more = [
    '-A PREROUTING -i wan1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.10.105',
    '-A POSTROUTING -s 10.10.10.0/24 -o wan1 -j MASQUERADE',
  ]
  expect(says(await importLines(save(more), nics))).toEqual([
    'firewall/105.fw IN ACCEPT -p tcp -dport 80 # NAT if=wan1',
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 # NAT if=wan1',
  ])
})

test('hairpin, zone and forwarding are built in', async () => {
  const dnat = `${IN} --dport 822 -j DNAT --to-destination 10.10.10.105:22`
  const hairpin = '-A POSTROUTING -s 10.10.10.0/24 -d 10.10.10.105/32 -p tcp -m tcp --dport 22 -j MASQUERADE'
  const raw = '*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i fwbr+ -j CT --zone 1\nCOMMIT\n'
  const tables = { legacy: EMPTY, nft: { 4: raw + saved([dnat, hairpin]), 6: '' } }
  const bootLines = parseBootLines(
    '/etc/network/interfaces',
    'iface vmbr1 inet static\n  post-up echo 1 > /proc/sys/net/ipv4/ip_forward\n',
  )
  expect(says(await importLines({ tables, bootLines }))).toEqual([
    'built in: pvenat has a zone of its own for packets on firewall bridges',
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 822',
    'built in: guests reach each other through the external address by themselves',
    'built in: pvenat switches forwarding on while it is needed',
  ])
})

test('a rule behind a jump has the conditions of the jump, and one behind a RETURN stays', async () => {
  const lines = [
    '-A PREROUTING -d 203.0.113.2/32 -i vmbr0 -j WEB',
    '-A WEB -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.10.105',
    '-A WEB -s 198.51.100.7/32 -j RETURN',
    '-A WEB -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.10.10.105',
  ]
  const tables = { legacy: EMPTY, nft: { 4: saved(lines, ['WEB']), 6: '' } }
  expect(says(await importLines({ tables }))).toEqual([
    'firewall/105.fw IN ACCEPT -p tcp -dport 80 # NAT',
    'stays: packets that it accepts are not translated by the rules behind it',
    "stays: pvenat has nothing for 'behind -A WEB -s 198.51.100.7/32 -j RETURN'",
  ])
})

test('lines of the interfaces file are found again, also where they are not in force', async () => {
  const text = [
    'iface vmbr0 inet static',
    '  post-up iptables -t nat -A POSTROUTING -s 10.10.10.0/24 -o $IFACE -j MASQUERADE',
    '  post-up iptables -t nat -I PREROUTING -i vmbr0 -p tcp --dport 822 -j DNAT --to 10.10.10.105:22; true',
    '  post-down iptables -t nat -F',
  ].join('\n')
  const bootLines = parseBootLines('/etc/network/interfaces', text)
  const parts = { ...save(['-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE']), bootLines }
  const found = await importLines(parts)
  expect(says(found)).toEqual([
    'firewall/cluster.fw OUT ACCEPT -source 10.10.10.0/24 # NAT',
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 822',
  ])
  expect(found.all.map(({ written }) => [written.boot?.line, written.loaded !== undefined])).toEqual([
    [2, true],
    [3, false],
  ])
})

test('a rule that pvenat would refuse says so, and one that is there is known', async () => {
  const lines = [
    `${IN} --dport 8006 -j DNAT --to-destination 10.10.10.105:80`,
    `${IN} --dport 81 -j DNAT --to-destination 10.10.10.105:80`,
  ]
  const { look, view, all } = await importLines(save(lines))
  const rules = all.flatMap(({ becomes }) => ('rule' in becomes ? [becomes.rule] : []))
  const [reserved, free] = [...tryRules(look, view, rules).values()]
  expect(reserved?.problems).toMatchObject([
    { isError: true, message: expect.stringContaining('8006') as unknown },
  ])
  expect(free).toMatchObject({ problems: [] })
  expect(createCommand(rules[1] as GuiRule)).toBe(
    "pvesh create /nodes/pve1/lxc/105/firewall/rules --type in --action ACCEPT --proto tcp --dport 80 --enable 0 --comment 'NAT 81'",
  )
  const fw = new Map([...look.tree.fw, ['firewall/105.fw', `[RULES]\n\n|${ruleLine(rules[1] as GuiRule)}\n`]])
  const there = { ...look, tree: { ...look.tree, fw } }
  expect(tryRules(there, compile(there).view, rules).get(rules[1] as GuiRule)?.there).toEqual({
    position: 0,
    line: 3,
    isOn: false,
  })
})

test('rules of one file are created from the last to the first, for each comes on top', async () => {
  const { all } = await importLines(
    save([
      '-A POSTROUTING -s 10.10.10.0/24 -p tcp -m tcp --dport 25 -j SNAT --to-source 203.0.113.3',
      '-A POSTROUTING -s 10.10.10.0/24 -j MASQUERADE',
    ]),
    TWO,
  )
  const comments = [...renderPvesh(all).matchAll(/--comment '?(.*?)'?$/gm)].map(([, comment]) => comment)
  expect(comments).toEqual(['NAT', 'NAT 203.0.113.3'])
})

test('what is built in stays while another rule by hand does', async () => {
  const dnat = `${IN} --dport 822 -j DNAT --to-destination 10.10.10.105:22`
  const hairpin = '-A POSTROUTING -s 10.10.10.0/24 -d 10.10.10.105/32 -p tcp -m tcp --dport 22 -j MASQUERADE'
  const switched = async (...lines: string[]): Promise<string[]> =>
    switchable((await importLines(save(lines))).all).map(({ written }) => written.text)
  expect(await switched(dnat, hairpin)).toEqual([dnat, hairpin])
  const limited = `${IN} --dport 80 -m limit --limit 5/sec -j DNAT --to-destination 10.10.10.105`
  expect(await switched(dnat, limited, hairpin)).toEqual([dnat])
})

describe('a network that is mapped on its way out, or for the node itself', () => {
  const wayIn = '-A PREROUTING -i vmbr0 -d 198.51.100.96/28 -j NETMAP --to 10.10.10.96/28'
  const limited = wayIn.replace('-j', '-m limit --limit 5/sec -j')
  const unequal = wayIn.replace('10.10.10.96/28', '10.10.10.0/24')
  const own = '-A OUTPUT -d 198.51.100.96/28 -j NETMAP --to 10.10.10.96/28'
  const out = '-A POSTROUTING -s 10.10.10.96/28 -o vmbr0 -j NETMAP --to 198.51.100.96/28'
  test.each([
    ['nothing maps the way in', [], 'stays'],
    ['the way in has a condition that pvenat does not know', [limited], 'stays'],
    ['the way in maps some ports', [wayIn.replace('-j', '-p tcp -m tcp --dport 80 -j')], 'stays'],
    ['the way in comes from a bridge', [wayIn.replace('vmbr0', 'vmbr1')], 'stays'],
    ['the way in leads to a network of another size', [unequal], 'stays'],
    ['the way in becomes a rule', [wayIn], 'built in'],
  ])('%s', async (_, before, expected) => {
    const rest = [own, out].map(() => expect.stringMatching(`^${expected}: .*full=1`) as unknown)
    expect(says(await importLines(save([...before, own, out]))).slice(before.length)).toEqual(rest)
  })

  test('for the node itself stays where the way in is for some clients', async () => {
    const some = wayIn.replace('-d', '-s 198.51.100.7/32 -d')
    expect(says(await importLines(save([some, own, out]))).slice(1)).toEqual([
      expect.stringMatching(/^stays: /),
      expect.stringMatching(/^built in: /),
    ])
  })

  test('of another network than that of the rule stays', async () => {
    const other = own.replace('198.51.100.96', '198.51.100.112')
    expect(says(await importLines(save([wayIn, other])))[1]).toMatch(/^stays: /)
  })
})
