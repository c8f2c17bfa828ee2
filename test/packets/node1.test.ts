// The main job, end to end: fixtures/node1 through `pvenat run`, beside pve-firewall's rules, on both backends.
import { describe, expect, test } from 'vitest'
import { backends, snapshot, type Answer, type AskOptions } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('fixtures/node1 with pvenat run on %s', (backend) => {
  const node = testNode(backend, {
    firewall: true,
    foreign: true,
    pvenat: 'run',
    serve: [
      'inet:443/tcp',
      'pve:8006,9999,1922/tcp',
      '105:22/tcp',
      '107:22,3306,9999/tcp',
      '108:80,443/tcp',
      '108:5003/udp',
      '200:822/tcp',
    ],
  })

  const rows: [
    from: string,
    to: string,
    expected: Partial<Exclude<Answer, string>> | string,
    options?: AskOptions,
  ][] = [
    ['inet', '203.0.113.2:822/tcp', { server: '107', port: 22, seenAs: '203.0.113.1' }],
    ['inet', '203.0.113.2:8080/tcp', { server: '108', port: 80, seenAs: '203.0.113.1' }],
    ['inet', '203.0.113.2:8443/tcp', { server: '108', port: 443, seenAs: '203.0.113.1' }],
    ['inet', '203.0.113.2:15003/udp', { server: '108', port: 5003, seenAs: '203.0.113.1' }],
    ['inet', '203.0.113.2:1022/tcp', { server: '105', port: 22, seenAs: '203.0.113.1' }],
    [
      'inet',
      '203.0.113.2:13306/tcp',
      { server: '107', port: 3306, seenAs: '198.51.100.7' },
      { from: '198.51.100.7' },
    ],
    ['inet', '203.0.113.2:13306/tcp', 'nothing', { from: '192.0.2.9' }],
    ['inet', '203.0.113.50:822/tcp', { server: '200', port: 822 }],
    ['inet', '203.0.113.2:8006/tcp', { server: 'pve', port: 8006 }],
    ['107', '203.0.113.1:443/tcp', { server: 'inet', seenAs: '203.0.113.2' }],
    ['108', '203.0.113.1:443/tcp', { server: 'inet', seenAs: '203.0.113.2' }],
    ['105', '203.0.113.1:443/tcp', { server: 'inet', seenAs: '203.0.113.2' }],
    ['200', '203.0.113.1:443/tcp', { server: 'inet', seenAs: '203.0.113.50' }],
    ['105', '203.0.113.2:822/tcp', { server: '107', port: 22, seenAs: '10.10.10.1' }],
    ['105', '203.0.113.2:8080/tcp', { server: '108', port: 80, seenAs: '10.10.10.1' }],
    ['107', '203.0.113.2:8080/tcp', { server: '108', port: 80 }],
    ['pve', '203.0.113.2:8080/tcp', { server: '108', port: 80 }],
    ['pve', '203.0.113.2:822/tcp', { server: '107', port: 22 }],
    ['105', '10.10.10.107:3306/tcp', 'nothing'],
  ]
  test.each(rows)('%s asks %s: %o', async (from, to, expected, options) => {
    const silence = expected === 'nothing' ? { timeoutMs: 300 } : {}
    const answer = await node.call(from, to, { ...silence, ...options })
    if (typeof expected === 'string') expect(answer).toBe(expected)
    else expect(answer).toMatchObject(expected)
  })

  // pve-firewall's own rules drop what reaches the node uninvited; without them nobody serves there.
  test.each([9999, 1922])(
    'port %i of a rule that is switched off, or on another node, stays the node’s',
    async (port) => {
      expect(await node.ask(port, { timeoutMs: 300 })).toBe('nothing')
      expect(await node.lab.ask('pve', 'tcp', `203.0.113.2:${port}`)).toMatchObject({ server: 'pve', port })
    },
  )

  test('list tells what is in force and counts it', async () => {
    const { stdout } = await node.pvenat.run('list', '--json')
    const list = JSON.parse(stdout) as {
      state: string
      guest: { vmid: number } | null
      external: { ports: number[][] }
      packets: number
    }[]
    const ssh = list.find(({ external }) => external.ports?.[0]?.[0] === 822)
    expect(ssh).toMatchObject({
      state: 'active',
      guest: { vmid: 107, name: 'db' },
      inner: { address: '10.10.10.107', ports: [[22, 22]] },
    })
    expect(ssh?.packets).toBeGreaterThan(0)
    expect(list.map(({ state }) => state).sort()).toEqual([...Array<string>(7).fill('active'), 'inactive'])
  })

  test('a second pass writes nothing', async () => {
    expect((await node.pvenat.run('plan')).exitCode).toBe(0)
    expect(await node.pvenat.run('apply')).toMatchObject({ exitCode: 0, stdout: 'everything is in force' })
  })

  test('stop leaves NAT in force, rollback leaves no trace', async () => {
    await node.pvenat.service?.stop()
    expect(await node.ask(8080)).toMatchObject({ server: '108' })
    expect((await node.pvenat.run('rollback', '--dry-run')).stdout).toContain('PVENAT-DNAT')
    expect(await node.ask(8080)).toMatchObject({ server: '108' })
    expect(await node.pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(node.lab)).toBe(node.untouched)
    expect(await node.pvenat.run('rollback')).toMatchObject({
      exitCode: 0,
      stdout: 'nothing of pvenat is in force',
    })
  })

  test('rollback with the service running stops it first', async () => {
    const service = await node.pvenat.start()
    expect(await node.pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await service.ended).toMatchObject({ exitCode: 0 })
    expect(await snapshot(node.lab)).toBe(node.untouched)
  })
})
