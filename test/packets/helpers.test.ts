// Helpers of connection tracking live beside the zone rule, and an exemption is final whatever other rules say.
import { describe, expect, test } from 'vitest'
import { backends, waitFor } from '../lab/index.ts'
import { askFtp, serveFtp } from './ftp.ts'
import { testNode } from './node.ts'
import { toldUntil } from './told.ts'

const HELPERS = '[OPTIONS]\n\nnf_conntrack_helpers: ftp\n'

describe.each(backends)('helpers, %s', (backend) => {
  const node = testNode(backend, {
    rules: {
      'firewall/107.fw': ['IN FTP(ACCEPT) # NAT'],
      'firewall/105.fw': ['IN FTP(ACCEPT) # NAT 2121'],
      'firewall/108.fw': ['OUT ACCEPT # NAT'],
    },
    edits: { 'nodes/pve1/host.fw': () => HELPERS },
    prepare: async ({ lab }) => {
      // As pve-firewall compiles it, in little: the helper, and a guest whose firewall lets FTP in.
      const raw = `iptables-${backend} -t raw -A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp`
      const bridged = '-m physdev --physdev-is-bridged --physdev-out tap107i0'
      const lines = [
        raw,
        `iptables-${backend} -A FORWARD ${bridged} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        `iptables-${backend} -A FORWARD ${bridged} -p tcp --dport 21 -j ACCEPT`,
        `iptables-${backend} -A FORWARD ${bridged} -j DROP`,
      ]
      await lab.exec('pve', ['sh', '-ec', lines.join('\n')])
      for (const name of ['105', '107']) serveFtp(lab, name)
    },
    pvenat: 'apply',
  })

  const passive = (from: string, host: string, port: number): Promise<string> =>
    askFtp(node.lab, from, 'passive', host, port)

  test.each([
    ['a firewalled guest behind NAT', 'inet', '203.0.113.2', 21],
    ['another external port', 'inet', '203.0.113.2', 2121],
    ['a firewalled guest that nothing is translated for', '105', '10.10.10.107', 21],
  ])('passive FTP of %s', async (_, from, host, port) => {
    await waitFor(async () => (await passive(from, host, port)) === 'DATA', {
      timeoutMs: 10_000,
      what: 'the data',
    })
  })

  test('without the option the data connection does not pass, and the rule says so', async () => {
    await node.save('nodes/pve1/host.fw')
    await node.apply()
    expect(await passive('inet', '203.0.113.2', 2121)).toBe('')
    await toldUntil(node.pvenat, 'helper-shifted', /2121.*which is off/, () =>
      node.edit('nodes/pve1/host.fw', () => HELPERS),
    )
    await node.apply()
    await waitFor(async () => (await passive('inet', '203.0.113.2', 2121)) === 'DATA', { what: 'the data' })
  })
})

describe.each(backends)('an exemption is final, %s', (backend) => {
  const other = backend === 'legacy' ? 'nft' : 'legacy'
  const node = testNode(backend, {
    lab: { ipForward: true },
    serve: ['inet:443/tcp'],
    rules: {
      'firewall/cluster.fw': ['OUT ACCEPT -source 10.10.10.0/24 -dest 203.0.113.0/24 # NAT none'],
      'firewall/105.fw': [],
      'firewall/107.fw': [],
      'firewall/108.fw': [],
    },
    prepare: ({ lab }) => lab.ip('inet', ['route add 10.10.10.0/24 via 203.0.113.2']),
  })
  const ask = () => node.call('105', '203.0.113.1:443', { timeoutMs: 400 })
  const snat = (which: string, verb: string) =>
    node.sh(
      `iptables-${which} -t nat -${verb} POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j SNAT --to-source 203.0.113.2`,
    )

  test('SDN’s SNAT in the same tables does not translate it, whether it stood there before or comes after', async () => {
    await snat(backend, 'A')
    expect(await ask()).toMatchObject({ seenAs: '203.0.113.2' })
    await node.apply()
    expect(await ask()).toMatchObject({ seenAs: '10.10.10.105' })
    const { stdout } = await node.pvenat.run('explain', 'tcp', '10.10.10.105', '203.0.113.1:443')
    expect(stdout).toMatch(/with its own address 10\.10\.10\.105: that is what the exemption asks for/)
    await snat(backend, 'D')
    await snat(backend, 'A')
    expect(await ask()).toMatchObject({ seenAs: '10.10.10.105' })
    await snat(backend, 'D')
  })

  test('nor does one of the other backend that was there before; explain does not claim to know', async () => {
    await node.pvenat.run('rollback')
    await snat(other, 'A')
    await node.apply()
    const { stdout } = await node.pvenat.run('explain', 'tcp', '10.10.10.105', '203.0.113.1:443')
    expect(stdout).toMatch(/\?.*A rule that is not pvenat’s may translate its source/)
    await snat(other, 'D')
  })
})
