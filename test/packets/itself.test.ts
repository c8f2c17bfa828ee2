// A guest that calls itself by its external address: what its own web application does with its public name.
import { describe, expect, test } from 'vitest'
import { backends, snapshot, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('a guest that reaches itself, %s', (backend) => {
  const node = testNode(backend, {
    firewall: true,
    serve: ['105:22/tcp', '107:22/tcp', '108:80/tcp', '108:5003/udp'],
    pvenat: 'run',
  })

  const rows = [
    ['105', 'tcp', '203.0.113.2:1022', 22, 'without firewall'],
    ['107', 'tcp', '203.0.113.2:822', 22, 'a VM with firewall'],
    ['108', 'tcp', '203.0.113.2:8080', 80, 'a container with firewall'],
    ['108', 'udp', '203.0.113.2:15003', 5003, 'a shifted range, UDP'],
  ] as const
  test.each(rows)('%s asks %s %s → itself :%i (%s)', async (guest, proto, endpoint, port) => {
    expect(await node.lab.ask(guest, proto, endpoint)).toMatchObject({
      server: guest,
      port,
      seenAs: '10.10.10.1',
    })
  })

  test('a stream through the loop lives beside calls of other guests', async () => {
    const stream = await node.lab.stream('107', '203.0.113.2:822')
    expect(await stream.ping()).toBe(true)
    expect(await node.lab.ask('107', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108' })
    expect(await stream.ping()).toBe(true)
    await stream.close()
  })

  test('nothing goes round in the loop', async () => {
    expect(await node.lab.ask('105', 'tcp', '169.254.77.128:22', { timeoutMs: 200 })).toBe('nothing')
  })

  test('the interfaces go when nobody needs them, and with the rollback', async () => {
    const links = async () => (await node.lab.exec('pve', ['ip', '-br', 'link'])).stdout
    expect(await links()).toContain('pvenat0')
    await node.pvenat.configure('hairpin = others')
    node.pvenat.service?.signal('SIGHUP')
    await waitFor(async () => !(await links()).includes('pvenat0'))
    expect(await node.lab.ask('105', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108' })
    await node.pvenat.configure()
    node.pvenat.service?.signal('SIGHUP')
    await waitFor(async () => (await links()).includes('pvenat0'))
    await node.pvenat.run('rollback')
    expect(await snapshot(node.lab)).toBe(node.untouched)
  })
})
