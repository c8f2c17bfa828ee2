// IPv6 as IPv4: forwards, masquerade, zone, hairpin, the guest itself, node access, sets; and router advertisements survive.
import { describe, expect, test } from 'vitest'
import { backends, snapshot } from '../lab/index.ts'
import { testNode } from './node.ts'

const RULES = [
  'OUT ACCEPT -source dc/lan6 # NAT',
  'IN ACCEPT -source +dc/trusted -dest fd10::105 -p tcp -dport 22 # NAT 2222',
]

describe.each(backends)('IPv6 with pvenat run on %s', (backend) => {
  const wan = '2001:db8:113::2'
  const node = testNode(backend, {
    firewall: true,
    edits: {
      ...Object.fromEntries(
        ['lxc/105', 'lxc/108', 'qemu-server/107'].map((guest) => [
          `nodes/pve1/${guest}.conf`,
          (text: string) => text.replace(/ip=10\.10\.10\.(\d+)\/24/, '$&,ip6=fd10::$1/64'),
        ]),
      ),
      'firewall/cluster.fw': (text) =>
        text
          .replace('[ALIASES]', '[ALIASES]\n\nlan6 fd10::/64')
          .replace('203.0.113.1\n', '203.0.113.1\n2001:db8:51::/64\n!2001:db8:51::9\n')
          .replace('[RULES]\n', `[RULES]\n\n${RULES.join('\n')}\n`),
    },
    serve: ['inet:443/tcp', '105:22/tcp', '107:22/tcp', '108:80/tcp', '108:5003/udp', '200:8080/tcp'],
    pvenat: 'run',
  })

  test('forwards keep the client’s address', async () => {
    const client = { from: '2001:db8:51::7' }
    expect(await node.lab.ask('inet', 'tcp', `[${wan}]:8080`, client)).toMatchObject({
      server: '108',
      port: 80,
      seenAs: client.from,
    })
    expect(await node.lab.ask('inet', 'udp', `[${wan}]:15003`, client)).toMatchObject({
      server: '108',
      port: 5003,
      seenAs: client.from,
    })
    expect(await node.ask(8080)).toMatchObject({ server: '108' })
  })

  test('a set with nomatch restricts both families', async () => {
    expect(await node.lab.ask('inet', 'tcp', `[${wan}]:2222`, { from: '2001:db8:51::7' })).toMatchObject({
      server: '105',
    })
    expect(
      typeof (await node.lab.ask('inet', 'tcp', `[${wan}]:2222`, { from: '2001:db8:2::9', timeoutMs: 300 })),
    ).toBe('string')
  })

  test('guests go out as the node, with and without firewall; bridged guests as themselves', async () => {
    for (const guest of ['105', '107', '108']) {
      expect(await node.lab.ask(guest, 'tcp', '[2001:db8:2::9]:443')).toMatchObject({
        server: 'inet',
        seenAs: wan,
      })
    }
    expect(await node.lab.ask('200', 'tcp', '[2001:db8:113::1]:443')).toMatchObject({
      seenAs: '2001:db8:113::50',
    })
    expect(await node.lab.ask('inet', 'tcp', '[2001:db8:113::50]:8080')).toMatchObject({ server: '200' })
  })

  test('hairpin from other guests, the node and the guest itself', async () => {
    expect(await node.lab.ask('105', 'tcp', `[${wan}]:8080`)).toMatchObject({
      server: '108',
      seenAs: 'fd10::1',
    })
    expect(await node.lab.ask('107', 'tcp', `[${wan}]:8080`)).toMatchObject({ server: '108' })
    expect(await node.lab.ask('pve', 'tcp', `[${wan}]:8080`)).toMatchObject({ server: '108' })
    expect(await node.lab.ask('108', 'tcp', `[${wan}]:8080`)).toMatchObject({
      server: '108',
      seenAs: 'fd10::1',
    })
    expect(await node.lab.ask('105', 'tcp', `[${wan}]:1022`)).toMatchObject({
      server: '105',
      seenAs: 'fd10::1',
    })
  })

  test('forwarding is on, and the external interface still listens to router advertisements', async () => {
    expect(await node.lab.sysctl('pve', 'net/ipv6/conf/all/forwarding')).toBe('1')
    expect(await node.lab.sysctl('pve', 'net/ipv6/conf/vmbr0/accept_ra')).toBe('2')
  })

  test('rollback leaves no trace', async () => {
    expect(await node.pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(node.lab)).toBe(node.untouched)
  })
})
