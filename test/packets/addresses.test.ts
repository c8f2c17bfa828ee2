// External addresses that appear, change and go, and several external interfaces: followed by kernel events, within a second.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  copyTree,
  createLab,
  node1Plan,
  node1Tree,
  Pvenat,
  removeTree,
  saveLikeGui,
  waitFor,
  type Lab,
} from '../lab/index.ts'

describe.each(backends)('external addresses, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat

  beforeAll(async () => {
    lab = await createLab({
      uplinks: [...node1Plan.uplinks, { name: 'eth1', segment: 'eth1', addresses: ['192.0.2.2/24'] }],
      inet: {
        segments: { eth0: ['203.0.113.1/24', '2001:db8:113::1/64'], eth1: ['192.0.2.1/24'] },
        others: ['198.51.100.7/32'],
      },
    })
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    // Long, so that what is seen is the event.
    await pvenat.configure('interval = 600')
    await Promise.all([
      lab.serve('105', 'tcp', 22),
      lab.serve('108', 'tcp', 80),
      lab.serve('inet', 'tcp', 443),
    ])
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const ask = (address: string, port: number) =>
    lab.ask('inet', 'tcp', `${address}:${port}`, { timeoutMs: 100 })
  const opens = (address: string, port: number) =>
    waitFor(async () => typeof (await ask(address, port)) === 'object', {
      timeoutMs: 1000,
      what: `${address}:${port} to open`,
    })
  const closes = (address: string, port: number) =>
    waitFor(async () => typeof (await ask(address, port)) === 'string', {
      timeoutMs: 1000,
      what: `${address}:${port} to close`,
    })

  test('an address that appears is served, one that goes is not, and nothing else blinks', async () => {
    const stream = await lab.stream('inet', '203.0.113.2:8080')
    await lab.ip('pve', ['addr add 203.0.113.9/24 dev vmbr0'])
    await opens('203.0.113.9', 8080)
    expect(await ask('203.0.113.2', 8080)).toMatchObject({ server: '108' })
    await lab.ip('pve', ['addr del 203.0.113.9/24 dev vmbr0'])
    const rules = async () => (await lab.exec('pve', [`iptables-${backend}-save`])).stdout
    await waitFor(async () => !(await rules()).includes('203.0.113.9'), { timeoutMs: 1000 })
    expect(await stream.ping()).toBe(true)
    await stream.close()
  })

  test('a chain that does not change is not written again', async () => {
    const before = (await lab.exec('pve', [`iptables-${backend}-save`, '-c', '-t', 'nat'])).stdout
    const counted = /\[([1-9]\d*):\d+\] -A PVENAT-DNAT [^\n]*--dport 8080/
    expect(before).toMatch(counted)
    await lab.ip('pve', ['addr add 203.0.113.9/24 dev vmbr0'])
    await opens('203.0.113.9', 8080)
    expect((await lab.exec('pve', [`iptables-${backend}-save`, '-c', '-t', 'nat'])).stdout).toMatch(counted)
    await lab.ip('pve', ['addr del 203.0.113.9/24 dev vmbr0'])
  })

  test('a second default route makes its interface external: forwards there, masquerade there', async () => {
    expect(typeof (await ask('192.0.2.2', 8080))).toBe('string')
    await lab.ip('pve', ['route add default via 192.0.2.1 dev eth1 metric 500'])
    await opens('192.0.2.2', 8080)
    await lab.ip('pve', ['route add 198.51.100.7/32 via 192.0.2.1 dev eth1'])
    expect(await lab.ask('105', 'tcp', '198.51.100.7:443')).toMatchObject({ seenAs: '192.0.2.2' })
    expect(await lab.ask('105', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.2' })
    const firewall =
      '[OPTIONS]\nenable: 1\n[RULES]\nIN SSH(ACCEPT) # NAT 1022 if=eth1\nIN SSH(ACCEPT) # NAT 203.0.113.2:1023\n'
    await saveLikeGui(tree, 'firewall/105.fw', firewall)
    await opens('203.0.113.2', 1023)
    expect(await ask('192.0.2.2', 1022)).toMatchObject({ server: '105' })
    expect(typeof (await ask('203.0.113.2', 1022))).toBe('string')
    expect(typeof (await ask('192.0.2.2', 1023))).toBe('string')
    await lab.ip('pve', ['route del default via 192.0.2.1 dev eth1 metric 500'])
    await closes('192.0.2.2', 8080)
    expect(await ask('203.0.113.2', 8080)).toMatchObject({ server: '108' })
  })
})
