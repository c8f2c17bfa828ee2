// Docker sets the policy of FORWARD to DROP. That stops neither our forwards nor our egress, and lets nothing else through.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  copyTree,
  createLab,
  loadPveFirewall,
  node1Plan,
  node1Tree,
  Pvenat,
  removeTree,
  snapshot,
  type Lab,
} from '../lab/index.ts'

describe.each(backends)('a FORWARD policy of DROP, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  let before: string
  const policy = (to: 'DROP' | 'ACCEPT') =>
    lab.exec('pve', [`iptables-${backend}`, '-w', '-P', 'FORWARD', to])

  beforeAll(async () => {
    lab = await createLab({
      bridges: [...node1Plan.bridges, { name: 'vmbr2', addresses: ['10.20.20.1/24'] }],
    })
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
    await lab.addGuest('pve', {
      vmid: 110,
      kind: 'lxc',
      firewall: false,
      bridge: 'vmbr2',
      mac: 'BC:24:11:00:01:10',
      address: '10.20.20.110/24',
      gateway: '10.20.20.1',
    })
    await loadPveFirewall(lab, backend, node1Tree)
    await Promise.all([
      lab.serve('inet', 'tcp', 443),
      lab.serve('105', 'tcp', 22, 80),
      lab.serve('107', 'tcp', 22),
      lab.serve('108', 'tcp', 80),
      lab.serve('108', 'udp', 5003),
    ])
    await policy('DROP')
    before = await snapshot(lab)
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

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
    const [endpoint = '', proto = ''] = to.split('/')
    expect(await lab.ask(from, proto as 'tcp', endpoint)).toMatchObject({ server })
  })

  test('what is neither a forward nor egress of ours still meets the policy', async () => {
    expect(await lab.ask('110', 'tcp', '10.10.10.105:80', { timeoutMs: 300 })).toBe('nothing')
    expect(await lab.ask('110', 'tcp', '10.10.10.105:22', { timeoutMs: 300 })).toBe('nothing')
    expect(await lab.ask('110', 'tcp', '203.0.113.1:443', { timeoutMs: 300 })).toBe('nothing')
    await lab.ip('inet', ['route add 10.10.10.0/24 via 203.0.113.2'])
    expect(await lab.ask('inet', 'tcp', '10.10.10.105:80', { timeoutMs: 300 })).toBe('nothing')
  })

  test('without the policy the chains for it go, and rollback leaves no trace', async () => {
    await policy('ACCEPT')
    await pvenat.service?.says(/remove chain PVENAT-PASS/)
    expect(await lab.ask('107', 'tcp', '203.0.113.1:443')).toMatchObject({ server: 'inet' })
    await policy('DROP')
    expect(await pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(lab)).toBe(before)
  })
})
