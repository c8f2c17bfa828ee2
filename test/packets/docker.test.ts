// Docker sets the policy of FORWARD to DROP. That stops neither our forwards nor our egress, and lets nothing else through.
import { describe, expect, test } from 'vitest'
import { backends, node1Plan, snapshot } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('a FORWARD policy of DROP, %s', (backend) => {
  const node = testNode(backend, {
    lab: { bridges: [...node1Plan.bridges, { name: 'vmbr2', addresses: ['10.20.20.1/24'] }] },
    firewall: true,
    serve: ['inet:443/tcp', '105:22,80/tcp', '107:22/tcp', '108:80/tcp', '108:5003/udp'],
    prepare: async ({ lab }) => {
      await lab.addGuest('pve', {
        ...{ vmid: 110, kind: 'lxc', firewall: false, bridge: 'vmbr2', mac: 'BC:24:11:00:01:10' },
        ...{ address: '10.20.20.110/24', gateway: '10.20.20.1' },
      })
      await policy('DROP')
    },
    pvenat: 'run',
  })
  const policy = (to: 'DROP' | 'ACCEPT') =>
    node.lab.exec('pve', [`iptables-${backend}`, '-w', '-P', 'FORWARD', to])

  const rows = [
    ['inet', '203.0.113.2:1022/tcp', '105'],
    ['inet', '203.0.113.2:822/tcp', '107'],
    ['inet', '203.0.113.2:8080/tcp', '108'],
    ['inet', '203.0.113.2:15003/udp', '108'],
    ['105', '203.0.113.1:443/tcp', 'inet'],
    ['107', '203.0.113.1:443/tcp', 'inet'],
    ['108', '203.0.113.1:443/tcp', 'inet'],
    ['105', '203.0.113.2:8080/tcp', '108'],
    ['107', '203.0.113.2:8080/tcp', '108'],
    ['107', '203.0.113.2:822/tcp', '107'],
    ['110', '203.0.113.2:1022/tcp', '105'],
    ['pve', '203.0.113.2:8080/tcp', '108'],
  ] as const
  test.each(rows)('%s reaches %s at %s', async (from, to, server) => {
    expect(await node.call(from, to)).toMatchObject({ server })
  })

  test('what is neither a forward nor egress of ours still meets the policy', async () => {
    expect(await node.lab.ask('110', 'tcp', '10.10.10.105:80', { timeoutMs: 300 })).toBe('nothing')
    expect(await node.lab.ask('110', 'tcp', '10.10.10.105:22', { timeoutMs: 300 })).toBe('nothing')
    expect(await node.lab.ask('110', 'tcp', '203.0.113.1:443', { timeoutMs: 300 })).toBe('nothing')
    await node.lab.ip('inet', ['route add 10.10.10.0/24 via 203.0.113.2'])
    expect(await node.lab.ask('inet', 'tcp', '10.10.10.105:80', { timeoutMs: 300 })).toBe('nothing')
  })

  test('without the policy the chains for it go, and rollback leaves no trace', async () => {
    await policy('ACCEPT')
    await node.pvenat.service?.says(/remove chain PVENAT-PASS/)
    expect(await node.lab.ask('107', 'tcp', '203.0.113.1:443')).toMatchObject({ server: 'inet' })
    await policy('DROP')
    expect(await node.pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(node.lab)).toBe(node.untouched)
  })
})
