// External addresses that appear, change and go, and several external interfaces: followed by kernel events, within a second.
import { describe, expect, test } from 'vitest'
import { backends, now, twoUplinks, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('external addresses, %s', (backend) => {
  const node = testNode(backend, {
    lab: twoUplinks,
    // Long, so that what is seen is the event.
    settings: 'interval = 600',
    serve: ['105:22/tcp', '108:80/tcp', 'inet:443/tcp'],
    pvenat: 'run',
  })

  const ask = (address: string, port: number) =>
    node.lab.ask('inet', 'tcp', `${address}:${port}`, { timeoutMs: 100 })
  /** Waits until it is so, which has to be within a second. */
  async function soon(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const start = now()
    await waitFor(isSo, { what })
    const ms = now() - start
    expect(ms, what).toBeLessThan(await node.fair(1000, ms))
  }
  const opens = (address: string, port: number) =>
    soon(`${address}:${port} to open`, async () => typeof (await ask(address, port)) === 'object')
  const closes = (address: string, port: number) =>
    soon(`${address}:${port} to close`, async () => typeof (await ask(address, port)) === 'string')

  test('an address that appears is served, one that goes is not, and nothing else blinks', async () => {
    const stream = await node.lab.stream('inet', '203.0.113.2:8080')
    await node.lab.ip('pve', ['addr add 203.0.113.9/24 dev vmbr0'])
    await opens('203.0.113.9', 8080)
    expect(await ask('203.0.113.2', 8080)).toMatchObject({ server: '108' })
    await node.lab.ip('pve', ['addr del 203.0.113.9/24 dev vmbr0'])
    const rules = () => node.sh(`iptables-${backend}-save`)
    await soon('the address to go', async () => !(await rules()).includes('203.0.113.9'))
    expect(await stream.ping()).toBe(true)
    await stream.close()
  })

  test('a chain that does not change is not written again', async () => {
    const counters = () => node.sh(`iptables-${backend}-save -c -t nat`)
    const counted = /\[([1-9]\d*):\d+\] -A PVENAT-DNAT [^\n]*--dport 8080/
    expect(await counters()).toMatch(counted)
    await node.lab.ip('pve', ['addr add 203.0.113.9/24 dev vmbr0'])
    await opens('203.0.113.9', 8080)
    expect(await counters()).toMatch(counted)
    await node.lab.ip('pve', ['addr del 203.0.113.9/24 dev vmbr0'])
  })

  test('a second default route makes its interface external: forwards there, masquerade there', async () => {
    expect(typeof (await ask('192.0.2.2', 8080))).toBe('string')
    await node.lab.ip('pve', ['route add default via 192.0.2.1 dev eth1 metric 500'])
    await opens('192.0.2.2', 8080)
    await node.lab.ip('pve', ['route add 198.51.100.7/32 via 192.0.2.1 dev eth1'])
    expect(await node.lab.ask('105', 'tcp', '198.51.100.7:443')).toMatchObject({ seenAs: '192.0.2.2' })
    expect(await node.lab.ask('105', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.2' })
    const rules = ['IN SSH(ACCEPT) # NAT 1022 if=eth1', 'IN SSH(ACCEPT) # NAT 203.0.113.2:1023']
    await node.save('firewall/105.fw', ...rules)
    await opens('203.0.113.2', 1023)
    expect(await ask('192.0.2.2', 1022)).toMatchObject({ server: '105' })
    expect(typeof (await ask('203.0.113.2', 1022))).toBe('string')
    expect(typeof (await ask('192.0.2.2', 1023))).toBe('string')
    await node.lab.ip('pve', ['route del default via 192.0.2.1 dev eth1 metric 500'])
    await closes('192.0.2.2', 8080)
    expect(await ask('203.0.113.2', 8080)).toMatchObject({ server: '108' })
  })
})
