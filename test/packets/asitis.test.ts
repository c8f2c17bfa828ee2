// Nodes as people have them: what the kernel says of addresses, interfaces and routes, asked with real packets; explain agrees.
import { expect, test } from 'vitest'
import { type Answer } from '../lab/index.ts'
import { onBothAtOnce, testNode, type TestNode } from './node.ts'
import { toldUntil } from './told.ts'

/** A question, and who has to answer it seen as whom; undefined: nobody. */
type Question = [
  from: string,
  as: string,
  to: string,
  answer: { server: string; seenAs?: string } | undefined,
]

/** Asks the packet and explain; both have to say what is expected. */
async function both(node: TestNode, [from, as, to, answer]: Question): Promise<void> {
  const [endpoint = '', proto = 'tcp'] = to.split('/')
  const got: Answer = await node.lab.ask(from, proto as 'tcp', endpoint, { from: as, timeoutMs: 400 })
  const { stdout } = await node.pvenat.run('explain', proto, as, endpoint)
  const where = `${from} as ${as} to ${to}: ${JSON.stringify(got)}\n${stdout}`
  if (answer) expect(got, where).toMatchObject(answer)
  else expect(typeof got, where).toBe('string')
  expect(/reaches|gets through|STOP/i.test(stdout) && !/^\s*STOP/m.test(stdout), where).toBe(
    answer !== undefined,
  )
}

/** Guests of the fixture that these nodes are not about. */
const NO_OTHERS = { 'firewall/107.fw': [], 'firewall/108.fw': [] }
const ROUTED = 'route add 203.0.114.0/24 via 203.0.113.2'

onBothAtOnce('addresses and interfaces as the kernel has them', (backend) => {
  const node = testNode(backend, {
    serve: ['105:80,443,444,8025/tcp', '108:81/tcp', 'inet:25,26,443/tcp'],
    rules: {
      ...NO_OTHERS,
      'firewall/105.fw': [
        'IN HTTP(ACCEPT) # NAT 8081',
        'IN HTTPS(ACCEPT) # NAT 203.0.113.7',
        'IN ACCEPT -p tcp -dport 444 # NAT [2001:db8:113::7]:444 to=fd10::105',
        'IN ACCEPT -p tcp -dport 80 # NAT 203.0.114.7:8082',
        'IN ACCEPT -p tcp -dport 80 # NAT 203.0.114.33:8083',
        'IN ACCEPT -p tcp -dport 80 # NAT 8085 if=wan0',
        'OUT ACCEPT -p tcp -dport 25 # NAT 203.0.113.7',
        'OUT ACCEPT -p tcp -dport 443 # NAT 203.0.114.7',
      ],
      'firewall/cluster.fw': [
        'IN ACCEPT -dest 10.10.10.108 -p tcp -dport 81 # NAT 203.0.114.35:8084',
        'OUT ACCEPT -source fd10::/64 -p tcp -dport 26 # NAT',
      ],
    },
    prepare: async ({ lab }) => {
      await lab.ip('pve', [
        'addr add 203.0.113.7/24 dev vmbr0 preferred_lft 0',
        'addr add 2001:db8:113::7/64 dev vmbr0 nodad preferred_lft 0',
        'addr add 203.0.114.7/32 dev lo',
        'link add vmbr2 type bridge',
        'link set vmbr2 up',
        'addr add 203.0.114.33/29 dev vmbr2',
        'link property add dev vmbr0 altname wan0',
      ])
      await lab.ip('inet', [ROUTED])
    },
    pvenat: 'apply',
  })

  test.each<Question>([
    ['inet', '203.0.113.1', '203.0.113.2:8081', { server: '105' }],
    ['inet', '203.0.113.1', '203.0.113.7:8081', { server: '105' }],
    ['inet', '203.0.113.1', '203.0.113.7:443', { server: '105' }],
    ['inet', '2001:db8:113::1', '[2001:db8:113::7]:444', { server: '105' }],
    ['inet', '203.0.113.1', '203.0.114.7:8082', { server: '105' }],
    ['inet', '198.51.100.7', '203.0.114.33:8083', { server: '105' }],
    ['inet', '203.0.113.1', '203.0.114.35:8084', { server: '108' }],
    ['inet', '203.0.113.1', '203.0.113.2:8085', { server: '105' }],
    ['inet', '203.0.113.1', '203.0.114.7:8081', undefined],
    ['105', '10.10.10.105', '203.0.113.1:25', { server: 'inet', seenAs: '203.0.113.7' }],
    ['105', '10.10.10.105', '203.0.113.1:443', { server: 'inet', seenAs: '203.0.114.7' }],
    ['105', 'fd10::105', '[2001:db8:113::1]:26', { server: 'inet', seenAs: '2001:db8:113::2' }],
    ['105', '10.10.10.105', '203.0.114.7:8082', { server: '105' }],
    ['107', '10.10.10.107', '203.0.114.35:8084', { server: '108' }],
  ])('%s as %s to %s', async (...question) => both(node, question))
})

onBothAtOnce('the ways out', (backend) => {
  const node = testNode(backend, {
    lab: {
      uplinks: [
        { name: 'eth0', segment: 'eth0', bridge: 'vmbr0' },
        { name: 'wg0', segment: 'wg0', addresses: ['10.8.0.2/24'] },
      ],
      inet: { segments: { eth0: ['203.0.113.1/24', '2001:db8:113::1/64'], wg0: ['10.8.0.1/24'] } },
    },
    serve: ['inet:443/tcp', '105:22/tcp', '200:22/tcp'],
    rules: {
      ...NO_OTHERS,
      'firewall/cluster.fw': ['OUT ACCEPT -source 10.10.10.0/24 -dest 10.8.0.0/24 # NAT'],
      'firewall/105.fw': ['OUT ACCEPT # NAT', 'IN SSH(ACCEPT) # NAT 1022'],
    },
  })
  const ways = async (...lines: string[]): Promise<void> => {
    await node.lab.ip('pve', lines)
    // An uplink is given up by the second look that misses its route.
    for (let look = 0; look < 2; look++) await node.pvenat.run('apply')
  }

  test('a destination behind a tunnel is told with the setting, and the setting mends it', async () => {
    await node.pvenat.run('apply')
    await both(node, ['105', '10.10.10.105', '10.8.0.1:443', undefined])
    const says = /10\.8\.0\.0\/24 leads by wg0.*\n.*external = \+wg0/
    await toldUntil(node.pvenat, 'leads-inward', says, () => node.pvenat.configure('external = +wg0'))
    await node.apply()
    await both(node, ['105', '10.10.10.105', '10.8.0.1:443', { server: 'inet', seenAs: '10.8.0.2' }])
    await node.pvenat.configure()
  })

  test('a network of guests on the external bridge is told with the setting that makes it internal, and the setting mends it', async () => {
    await node.lab.ip('pve', ['addr add 10.30.0.1/24 dev vmbr0'])
    const moved = [
      'addr flush dev eth0',
      'addr add 10.30.0.200/24 dev eth0',
      'route add default via 10.30.0.1',
    ]
    await node.lab.ip('200', moved)
    const place = (text: string): string =>
      text.replace('203.0.113.50/24,gw=203.0.113.1', '10.30.0.200/24,gw=10.30.0.1')
    await node.edit('nodes/pve1/qemu-server/200.conf', place)
    await node.save('firewall/200.fw', 'IN SSH(ACCEPT) # NAT 2200', 'OUT ACCEPT # NAT')
    await node.pvenat.run('apply')
    const { stderr } = await node.pvenat.run('check')
    expect(stderr).toMatch(/guest-external\][^]*internal = \+10\.30\.0\.0\/24[^]*guest-outside\]/)
    await both(node, ['inet', '198.51.100.7', '203.0.113.2:2200', undefined])
    await node.pvenat.configure('internal = +10.30.0.0/24')
    await node.apply()
    for (let time = 0; time < 3; time++) {
      await both(node, ['inet', '198.51.100.7', '203.0.113.2:2200', { server: '200' }])
      const out: Question = [
        '200',
        '10.30.0.200',
        '203.0.113.1:443',
        { server: 'inet', seenAs: '203.0.113.2' },
      ]
      await both(node, out)
    }
    await both(node, ['inet', '198.51.100.7', '203.0.113.2:1022', { server: '105' }])
    await node.save('firewall/200.fw')
    await node.pvenat.configure()
  })

  test.each([
    ['two halves', ['route add 0.0.0.0/1 via 10.8.0.1', 'route add 128.0.0.0/1 via 10.8.0.1']],
    [
      'a table that a rule leads to',
      ['route add default via 10.8.0.1 table 51820', 'rule add iif vmbr1 lookup 51820'],
    ],
  ])('%s make an interface external', async (_, lines) => {
    await ways(...lines)
    expect(await node.call('105', '203.0.113.1:443', { timeoutMs: 400 })).toMatchObject({ server: 'inet' })
    expect(await node.call('105', '198.51.100.7:443', { timeoutMs: 400 })).toMatchObject({
      seenAs: '10.8.0.2',
    })
    await ways(...lines.map((line) => line.replace(' add ', ' del ')))
  })

  test('a routing rule of others that takes the node’s own networks is told; all of ours is in force all the same', async () => {
    const lines = ['route add default via 10.8.0.1 table 52', 'rule add pref 5270 lookup 52']
    await ways(...lines)
    const { stdout } = await node.pvenat.run('status', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ inStep: true })
    await both(node, ['inet', '198.51.100.7', '203.0.113.2:1022', undefined])
    await both(node, ['105', '10.10.10.105', '203.0.113.2:1022', undefined])
    const { stderr } = await node.pvenat.run('check')
    const [command = ''] = /ip rule add to 10\.10\.10\.0\/24 lookup main priority 5269$/m.exec(stderr) ?? []
    expect(stderr.match(/foreign-drops\].* leads packets to 10\.10\.10\.0\/24 away by wg0/g)).toHaveLength(3)
    // The same where that interface is none of the external ones.
    await node.pvenat.configure('external = vmbr0')
    await node.pvenat.run('apply')
    expect((await node.pvenat.run('check')).stderr).toMatch(/foreign-drops\].* leads packets to .* by wg0/)
    await both(node, ['inet', '198.51.100.7', '203.0.113.2:1022', undefined])
    await node.pvenat.configure()
    await node.sh(command)
    await node.apply()
    await both(node, ['inet', '198.51.100.7', '203.0.113.2:1022', { server: '105' }])
    expect((await node.pvenat.run('check')).stderr).not.toMatch(/foreign-drops/)
    await node.sh(command.replace(' add ', ' del '))
    await ways(...lines.map((line) => line.replace(' add ', ' del ')))
    await both(node, ['inet', '198.51.100.7', '203.0.113.2:1022', { server: '105' }])
  })

  test('a route that leads nowhere and a table that no rule leads to make none', async () => {
    await ways('route add unreachable default metric 9999', 'route add default via 10.8.0.1 table 77')
    const { stdout } = await node.pvenat.run('status', '--json')
    const { external } = JSON.parse(stdout) as { external: { interface: string }[] }
    expect(external.map((one) => one.interface)).toEqual(['vmbr0'])
  })
})

onBothAtOnce('networks that are not for guests', (backend) => {
  const node = testNode(backend, {
    serve: ['inet:443/tcp'],
    rules: { ...NO_OTHERS, 'firewall/cluster.fw': ['OUT ACCEPT # NAT'], 'firewall/105.fw': [] },
    prepare: ({ lab }) =>
      lab.ip('pve', [
        'link add docker0 type bridge',
        'link set docker0 up',
        'addr add 172.17.0.1/16 dev docker0',
        'addr add 2001:db8:113:1::1/64 dev vmbr1 nodad',
      ]),
    pvenat: 'apply',
  })

  test('Docker’s bridge is not masqueraded, and a public IPv6 network only when it is named', async () => {
    const rules = () => node.sh(`iptables-${backend}-save -t nat; ip6tables-${backend}-save -t nat`)
    expect(await rules()).not.toMatch(/172\.17|2001:db8:113:1::\/64 -o/)
    await node.lab.ip('105', [
      'addr add 2001:db8:113:1::105/64 dev eth0 nodad',
      'route add default via 2001:db8:113:1::1 src 2001:db8:113:1::105 metric 1',
    ])
    await node.lab.ip('inet', ['route add 2001:db8:113:1::/64 via 2001:db8:113::2'])
    const ask = () => node.lab.ask('105', 'tcp', '[2001:db8:113::1]:443', { from: '2001:db8:113:1::105' })
    expect(await ask()).toMatchObject({ seenAs: '2001:db8:113:1::105' })
    await toldUntil(node.pvenat, 'source-public', /2001:db8:113:1::\/64 is public/, () =>
      node.save('firewall/cluster.fw', 'OUT ACCEPT -source 2001:db8:113:1::/64 # NAT'),
    )
    await node.apply()
    expect(await ask()).toMatchObject({ seenAs: '2001:db8:113::2' })
  })
})
