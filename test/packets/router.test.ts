// One address and a router VM: the router gets all that arrives there, but for what belongs to the node.
import { expect, test } from 'vitest'
import { waitFor } from '../lab/index.ts'
import { blocksOf } from '../docs/commands.ts'
import { answeredBy, sendBare } from './bare.ts'
import { onBothAtOnce, testNode } from './node.ts'
import { toldUntil } from './told.ts'

/** The rule as docs/router-vm.md has it. */
const ruleOfPage =
  /^IN .*$/m.exec(
    blocksOf('docs/router-vm.md').find(({ language }) => language === 'ini')?.text ?? '',
  )?.[0] ?? ''

const FAMILIES = [
  {
    family: 'IPv4',
    flag: 'ipv4',
    node: '203.0.113.2',
    at: (port: number) => `203.0.113.2:${port}`,
    router: '10.10.10.107',
    client: '203.0.113.1',
    ping: 'icmp',
  },
  {
    family: 'IPv6',
    flag: 'ipv6',
    node: '2001:db8:113::2',
    at: (port: number) => `[2001:db8:113::2]:${port}`,
    router: 'fd10::107',
    client: '2001:db8:113::1',
    ping: 'icmpv6',
  },
] as const

onBothAtOnce('a router VM at the only address', (backend) => {
  const node = testNode(backend, {
    rules: {
      'firewall/cluster.fw': [
        ruleOfPage,
        'IN ACCEPT -dest fd10::107 # NAT 2001:db8:113::2 full=1',
        'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 80 # NAT 8080',
      ],
      'nodes/pve1/host.fw': [
        // 104 and 105 in the uplink's own network; 108 to 111.
        'IN ACCEPT # NAT 203.0.113.104/31 full=1 to=10.10.10.104/31',
        'IN ACCEPT # NAT 198.18.7.108/30 full=1 to=10.10.10.108/30',
        'IN ACCEPT # NAT 2001:db8:77::104/127 full=1 to=fd10::104/127',
        'IN ACCEPT # NAT 2001:db8:77::108/126 full=1 to=fd10::108/126',
        'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 80 # NAT 198.18.7.109:8080',
      ],
      ...Object.fromEntries(['105', '107', '108'].map((vmid) => [`firewall/${vmid}.fw`, []])),
    },
    serve: [
      '107:22,8006,9999,2222,60000,60050,8080/tcp',
      '107:500,5405,5412,9999,51820,40000,40001/udp',
      '105:80/tcp',
      'pve:22,8006,60000/tcp',
      'pve:5405/udp',
      'inet:443/tcp',
      'inet:53,123/udp',
      '108:7000/tcp',
      '108:7000/udp',
    ],
    prepare: async ({ lab }) => {
      await lab.ip('inet', [
        'route add 198.18.7.104/29 via 203.0.113.2',
        'route add 2001:db8:77::/64 via 2001:db8:113::2',
      ])
      // As check proposes for a network that nobody answers for.
      await lab.ip('pve', ['route add local 203.0.113.104/31 dev lo'])
    },
    pvenat: 'run',
  })
  const serverOf = async (from: string, to: string, proto: 'tcp' | 'udp', fromPort?: number) => {
    const answer = await node.lab.ask(from, proto, to, fromPort === undefined ? {} : { fromPort })
    return typeof answer === 'object' ? answer.server : answer
  }

  test.each(FAMILIES)('$family: tcp, udp and protocols without ports go to the router', async (one) => {
    await node.converged()
    expect(await serverOf('inet', one.at(9999), 'tcp')).toBe('107')
    expect(await serverOf('inet', one.at(9999), 'udp')).toBe('107')
    expect(await serverOf('inet', one.at(500), 'udp')).toBe('107')
    expect(await serverOf('108', one.at(9999), 'tcp')).toBe('107')
    for (const proto of [50, 47]) {
      await sendBare(node.lab, one.node, proto)
      expect(await answeredBy(node, `-f ${one.flag} -p ${proto}`)).toEqual([one.router])
    }
  })

  test.each(FAMILIES)('$family: the node keeps ssh, the GUI, corosync, migration and pings', async (one) => {
    for (const port of [22, 8006, 60000]) expect(await serverOf('inet', one.at(port), 'tcp')).toBe('pve')
    expect(await serverOf('inet', one.at(5405), 'udp')).toBe('pve')
    // Nothing of the node listens there now, and they are the node's all the same.
    expect(await serverOf('inet', one.at(60050), 'tcp')).toBe('refused')
    expect(await serverOf('inet', one.at(5412), 'udp')).toBe('refused')
    await (one.flag === 'ipv4'
      ? sendBare(node.lab, one.node, 1, 'pack("CCnnn", 8, 0, 0xf7ff, 0, 0)')
      : sendBare(node.lab, one.node, 58, 'pack("CCnnn", 128, 0, 0, 0, 0)'))
    expect(await answeredBy(node, `-f ${one.flag} -p ${one.ping}`)).toEqual([one.node])
  })

  test('another forward of the datacenter keeps its port', async () => {
    expect(await serverOf('inet', '203.0.113.2:8080', 'tcp')).toBe('105')
  })

  test.each(FAMILIES)('$family: a service of the node has its port from its first packet on', async (one) => {
    expect(await serverOf('inet', one.at(2222), 'tcp')).toBe('107')
    expect(await serverOf('inet', one.at(51820), 'udp')).toBe('107')
    // sshd at another port, and a tunnel.
    await node.serve('pve:2222/tcp', 'pve:51820/udp')
    expect(await serverOf('inet', one.at(2222), 'tcp')).toBe('pve')
    expect(await serverOf('inet', one.at(51820), 'udp', 51821)).toBe('pve')
    await node.lab.unserve('pve', 'tcp', 2222)
    await node.lab.unserve('pve', 'udp', 51820)
  })

  test.each(FAMILIES)('$family: what the node itself asks is answered to the node', async (one) => {
    const inet = one.flag === 'ipv4' ? one.client : `[${one.client}]`
    expect(await serverOf('pve', `${inet}:443`, 'tcp')).toBe('inet')
    expect(await serverOf('pve', `${inet}:53`, 'udp')).toBe('inet')
    // A socket of the node whose entry is gone, and the peer speaks first.
    const client = await node.lab.flow('pve', `${inet}:123`, { fromPort: 40000 })
    expect(await client.ask()).toMatchObject({ server: 'inet' })
    await node.lab.unserve('inet', 'udp', 123)
    await node.sh(`conntrack -D -f ${one.flag} -p udp --sport 40000 >/dev/null 2>&1`)
    const peer = await node.lab.flow('inet', one.at(40000), { from: one.client, fromPort: 123 })
    await peer.ask(200)
    expect(await answeredBy(node, `-f ${one.flag} -p udp --orig-port-dst 40000`)).toEqual([one.node])
    await Promise.all([peer.close(), client.close()])
    await node.serve('inet:123/udp')
    // Without a socket the same packet is the router's.
    expect(await serverOf('inet', one.at(40001), 'udp')).toBe('107')
  })

  test.each(FAMILIES)('$family: what the router sends leaves as the address', async (one) => {
    const to = one.flag === 'ipv4' ? one.client : `[${one.client}]`
    expect(await node.call('107', `${to}:443`)).toMatchObject({ server: 'inet', seenAs: one.node })
  })

  test.each([
    ['203.0.113.', '198.18.7.', '203.0.113.1', '10.10.10.1'],
    ['2001:db8:77::', '2001:db8:77::', '2001:db8:113::1', 'fd10::1'],
  ])('guests have the addresses of networks, both ways: %s %s', async (first, second, client, inside) => {
    const outer = (place: number) => `${place < 108 ? first : second}${place}`
    const at = (place: number) => (client.includes(':') ? `[${outer(place)}]` : outer(place))
    const to = client.includes(':') ? `[${client}]` : client
    expect(await node.call('inet', `${at(108)}:7000`)).toMatchObject({ server: '108', seenAs: client })
    expect(await node.call('inet', `${at(108)}:7000/udp`)).toMatchObject({ server: '108', seenAs: client })
    expect(await node.call('inet', `${at(105)}:80`)).toMatchObject({ server: '105', seenAs: client })
    // From inside and from the node, too.
    expect(await node.call('105', `${at(108)}:7000`)).toMatchObject({ server: '108', seenAs: inside })
    expect(await node.call('pve', `${at(108)}:7000`)).toMatchObject({ server: '108' })
    expect(await node.call('108', `${to}:443`)).toMatchObject({ server: 'inet', seenAs: outer(108) })
    expect(await node.call('105', `${to}:443`)).toMatchObject({ server: 'inet', seenAs: outer(105) })
    expect(await serverOf('inet', `${at(110)}:7000`, 'tcp')).not.toBe('108')
  })

  test('a network on the wire for which the node does not answer: nothing passes, and explain says so', async () => {
    await node.lab.ip('pve', ['route del local 203.0.113.104/31 dev lo'])
    await node.lab.ip('inet', ['neigh flush all'])
    for (const [from, source, to, server] of [
      ['inet', '203.0.113.1', '203.0.113.105:80', '105'],
      ['105', '10.10.10.105', '203.0.113.1:443', 'inet'],
    ] as const) {
      expect(await serverOf(from, to, 'tcp')).not.toBe(server)
      const { stdout } = await node.pvenat.run('explain', 'tcp', source, to)
      expect(stdout).toMatch(/STOP {2}203\.0\.113\.105 .*ip route add local 203\.0\.113\.104\/31 dev lo/s)
    }
    await node.lab.ip('pve', ['route add local 203.0.113.104/31 dev lo'])
  })

  test('an address of a network that another rule names is left out, until that rule goes', async () => {
    const named = () => serverOf('inet', '198.18.7.109:8080', 'tcp')
    expect(await named()).toBe('105')
    const text = await node.text('nodes/pve1/host.fw')
    const says = /these addresses are left out: 198\.18\.7\.109 \(another rule names it\)/
    await toldUntil(node.pvenat, 'network-left', says, () =>
      node.edit('nodes/pve1/host.fw', () => text.replace(/^.* NAT 198\.18\.7\.109:8080\n/m, '')),
    )
    await node.converged()
    expect(await named()).not.toBe('105')
    await node.edit('nodes/pve1/host.fw', () => text)
    await node.converged()
  })

  test('explain and list say the same of a network', async () => {
    const said = await node.pvenat.run('explain', 'tcp', '203.0.113.1', '198.18.7.108:7000')
    expect(said.stdout).toContain('sends it to 10.10.10.108:7000')
    const out = await node.pvenat.run('explain', 'tcp', '10.10.10.108', '203.0.113.1:443')
    expect(out.stdout).toContain('is seen as 198.18.7.108')
    const rows = JSON.parse((await node.pvenat.run('list', '--json')).stdout) as {
      external: { addresses: string[] }
      inner: { address: string }
      packets: number
    }[]
    expect(rows.find(({ inner }) => inner.address === '10.10.10.108/30')).toMatchObject({
      state: 'active',
      external: { addresses: ['198.18.7.108/30'], ports: null },
    })
  })

  test('when the rule of a network goes, UDP that goes on comes to the guest no more', async () => {
    const flow = await node.lab.flow('inet', '198.18.7.108:7000', { from: '203.0.113.1' })
    expect(await flow.ask()).toMatchObject({ server: '108' })
    await node.save('nodes/pve1/host.fw')
    await node.converged()
    expect(await flow.ask(300)).not.toMatchObject({ server: '108' })
    await flow.close()
  })

  test.each([
    [FAMILIES[0].family, 47, FAMILIES[0]],
    [FAMILIES[1].family, 50, FAMILIES[1]],
  ] as const)(
    '%s: a tunnel of protocol %d of the node has its packets, although its peer was first',
    async (_, proto, one) => {
      const leadsTo = async () => {
        await sendBare(node.lab, one.node, proto)
        return answeredBy(node, `-f ${one.flag} -p ${proto} --orig-dst ${one.node}`)
      }
      expect(await leadsTo()).toEqual([one.router])
      const family = one.flag === 'ipv4' ? 'AF_INET' : 'AF_INET6'
      const open = `socket(S, ${family}, SOCK_RAW, ${proto}) or die; sleep`
      const tunnel = node.lab.spawn('pve', ['perl', '-MSocket=:all', '-e', open])
      await waitFor(async () => (await leadsTo()).join() === one.node, {
        what: 'the tunnel to have its packets',
        timeoutMs: 12_000,
      })
      await tunnel.stop()
    },
  )
})
