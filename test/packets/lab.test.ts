import { readFile, readlink, stat } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  addForeignRules,
  addRules,
  backends,
  copyTree,
  createLab,
  loadPveFirewall,
  node1Tree,
  removeTree,
  saveInPlace,
  saveLikeGui,
  snapshot,
  waitFor,
  type Backend,
  type Lab,
} from '../lab/index.ts'

// The NAT of fixtures/node1 as a person would type it, to see that the lab answers as a node does.
const zone = `*raw
-I PREROUTING -i fwbr+ -j CT --zone 1
COMMIT
`
const nat = (
  wan: string,
  at: (guest: number, port: number) => string,
  guest107: string,
  net: string,
) => `*filter
-I FORWARD -d ${guest107} -p tcp --dport 22 -j ACCEPT
COMMIT
*nat
-A PREROUTING -i fwbr+ -j RETURN
-A PREROUTING -d ${wan} -p tcp --dport 822 -j DNAT --to-destination ${at(107, 22)}
-A PREROUTING -d ${wan} -p tcp --dport 8080 -j DNAT --to-destination ${at(108, 80)}
-A PREROUTING -d ${wan} -p udp --dport 15000:15009 -j DNAT --to-destination ${at(108, 5000)}-5009/15000
-A POSTROUTING -s ${net} -o vmbr0 -j MASQUERADE
-A POSTROUTING -s ${net} -d ${net} -m conntrack --ctstate DNAT -j MASQUERADE
COMMIT
`
const nat4 = nat('203.0.113.2', (guest, port) => `10.10.10.${guest}:${port}`, '10.10.10.107', '10.10.10.0/24')
const nat6 = nat('2001:db8:113::2', (guest, port) => `[fd10::${guest}]:${port}`, 'fd10::107', 'fd10::/64')

async function serveAll(lab: Lab): Promise<void> {
  await Promise.all([
    lab.serve('inet', 'tcp', 443),
    lab.serve('inet', 'udp', 443),
    lab.serve('pve', 'tcp', 8006),
    lab.serve('107', 'tcp', 22, 3306),
    lab.serve('108', 'tcp', 80),
    lab.serve('108', 'udp', 5003),
    lab.serve('105', 'tcp', 22),
    lab.serve('200', 'tcp', 22, 822),
  ])
}

describe.each(backends)('a node with NAT typed by hand, %s', (backend: Backend) => {
  let lab: Lab
  beforeAll(async () => {
    const start = performance.now()
    lab = await createLab({ ipForward: true })
    console.log(`createLab: ${Math.round(performance.now() - start)} ms`)
    await lab.ns('pve').setSysctls({ 'net/ipv6/conf/all/forwarding': 1 })
    await loadPveFirewall(lab, backend, node1Tree)
    await addForeignRules(lab, backend)
    await addRules(lab, backend, 4, zone + nat4)
    await addRules(lab, backend, 6, zone + nat6)
    await serveAll(lab)
  })
  afterAll(() => lab.stop())

  test('a forward keeps the address and the port of the client', async () => {
    const answer = await lab.ask('inet', 'tcp', '203.0.113.2:822', { from: '198.51.100.7', fromPort: 5555 })
    expect(answer).toEqual({ server: '107', port: 22, seenAs: '198.51.100.7', seenPort: 5555 })
    const v6 = await lab.ask('inet', 'tcp', '[2001:db8:113::2]:822', { from: '2001:db8:51::7' })
    expect(v6).toMatchObject({ server: '107', port: 22, seenAs: '2001:db8:51::7' })
  })

  test('forwards reach containers, by UDP and shifted ranges, too', async () => {
    expect(await lab.ask('inet', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108', port: 80 })
    const udp = await lab.ask('inet', 'udp', '203.0.113.2:15003', { from: '192.0.2.9' })
    expect(udp).toMatchObject({ server: '108', port: 5003, seenAs: '192.0.2.9' })
    const udp6 = await lab.ask('inet', 'udp', '[2001:db8:113::2]:15003', { from: '2001:db8:2::9' })
    expect(udp6).toMatchObject({ server: '108', port: 5003, seenAs: '2001:db8:2::9' })
  })

  test('a guest with a public address of its own keeps its ports', async () => {
    expect(await lab.ask('inet', 'tcp', '203.0.113.50:822')).toMatchObject({ server: '200', port: 822 })
    expect(await lab.ask('200', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.50' })
  })

  test('guests go out as the node', async () => {
    for (const guest of ['107', '108', '105']) {
      expect(await lab.ask(guest, 'tcp', '203.0.113.1:443')).toMatchObject({
        server: 'inet',
        seenAs: '203.0.113.2',
      })
      expect(await lab.ask(guest, 'udp', '198.51.100.7:443')).toMatchObject({ seenAs: '203.0.113.2' })
      expect(await lab.ask(guest, 'tcp', '[2001:db8:2::9]:443')).toMatchObject({ seenAs: '2001:db8:113::2' })
    }
  })

  test('guests reach each other through the external address', async () => {
    const expected = { server: '108', port: 80, seenAs: '10.10.10.1' }
    expect(await lab.ask('105', 'tcp', '203.0.113.2:8080')).toMatchObject(expected)
    expect(await lab.ask('107', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108', port: 80 })
  })

  test('what pve-firewall drops or nobody serves has no answer', async () => {
    expect(await lab.ask('inet', 'tcp', '203.0.113.2:8006')).toMatchObject({ server: 'pve' })
    expect(await lab.ask('inet', 'tcp', '203.0.113.2:9999')).toBe('nothing')
    expect(await lab.ask('105', 'tcp', '10.10.10.107:3306')).toBe('nothing')
    expect(await lab.ask('107', 'tcp', '10.10.10.105:23')).toBe('refused')
    expect(await lab.ask('107', 'udp', '10.10.10.105:23')).toBe('refused')
    expect(await lab.ask('inet', 'tcp', '10.10.10.107:22')).toBe('unreachable')
  })

  test('a stream lives through the loss of its rule, a flow keeps its port', async () => {
    const stream = await lab.stream('inet', '203.0.113.2:8080')
    expect(stream.answer).toMatchObject({ server: '108' })
    const flow = await lab.flow('inet', '203.0.113.2:15003', { fromPort: 6000 })
    expect(await flow.ask()).toMatchObject({ server: '108', seenPort: 6000 })
    expect(await flow.ask()).toMatchObject({ server: '108', seenPort: 6000 })
    await lab.exec('pve', ['conntrack', '-D', '-p', 'udp', '--orig-port-dst', '15003'])
    expect(await stream.ping()).toBe(true)
    await lab.unserve('108', 'tcp', 80)
    expect(await lab.ask('inet', 'tcp', '203.0.113.2:8080')).toBe('refused')
    expect(await stream.ping()).toBe(true)
    await lab.serve('108', 'tcp', 80)
    await Promise.all([stream.close(), flow.close()])
  })

  // Last: it takes the zone away, which stalls what is established.
  test('without the zone rule a firewalled guest cannot be masqueraded', async () => {
    await lab.exec('pve', [
      `iptables-${backend}`,
      '-w',
      '-t',
      'raw',
      '-D',
      ...'PREROUTING -i fwbr+ -j CT --zone 1'.split(' '),
    ])
    expect(await lab.ask('107', 'tcp', '203.0.113.1:443')).toBe('nothing')
    expect(await lab.ask('105', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.2' })
  })
})

describe('the lab itself', () => {
  let lab: Lab
  beforeAll(async () => {
    lab = await createLab()
  })
  afterAll(() => lab.stop())

  test('an untouched node neither forwards nor translates', async () => {
    expect(await lab.sysctl('pve', 'net/ipv4/ip_forward')).toBe('0')
    await lab.serve('inet', 'tcp', 443)
    expect(await lab.ask('105', 'tcp', '203.0.113.1:443')).toBe('nothing')
  })

  test('files that a service writes stay in its namespace', async () => {
    const files = [
      '/run/xtables.lock.test',
      '/run/lock/pvefw.lck',
      '/etc/pvenat-lab-test',
      '/var/lib/pvenat-lab-test',
    ]
    await lab.exec('pve', ['touch', ...files])
    expect((await lab.exec('pve', ['ls', ...files])).stdout.split('\n')).toHaveLength(4)
    for (const file of files.filter((name) => name.includes('test')))
      await expect(stat(file)).rejects.toThrow('ENOENT')
    expect((await lab.exec('pve', ['hostname'])).stdout).toBe('pve1')
    expect((await lab.exec('107', ['ls', '/sys/class/net'])).stdout.split('\n')).toEqual(['eth0', 'lo'])
  })

  test('a snapshot shows foreign rules, and is the same when they have come and gone', async () => {
    const before = await snapshot(lab)
    expect(await snapshot(lab)).toBe(before)
    for (const backend of backends) {
      await lab.exec('pve', ['ipset', 'destroy'])
      await addForeignRules(lab, backend)
      expect((await snapshot(lab)).match(/-A \S*FOREIGN-NAT .* --dport 29022 /g)).toHaveLength(2)
      for (const family of ['iptables', 'ip6tables']) {
        for (const table of ['raw', 'mangle', 'nat', 'filter']) {
          await lab.exec('pve', [`${family}-${backend}`, '-w', '-t', table, '-F'])
          await lab.exec('pve', [`${family}-${backend}`, '-w', '-t', table, '-X'])
        }
      }
    }
    await lab.exec('pve', ['ipset', 'destroy'])
    expect(await snapshot(lab)).toBe(before)
  })

  test('a guest can come and go', async () => {
    const guest = {
      vmid: 301,
      kind: 'qemu',
      firewall: true,
      bridge: 'vmbr1',
      mac: 'BC:24:11:00:03:01',
    } as const
    const before = await snapshot(lab)
    await lab.addGuest('pve', { ...guest, address: '10.10.10.201/24', gateway: '10.10.10.1' })
    await lab.serve('301', 'tcp', 22)
    expect(await lab.ask('105', 'tcp', '10.10.10.201:22')).toMatchObject({
      server: '301',
      seenAs: '10.10.10.105',
    })
    await lab.removeGuest('pve', guest)
    expect(await snapshot(lab)).toBe(before)
  })

  test('a second node shares the internet', async () => {
    await lab.addNode({
      name: 'pve2',
      hostname: 'pve2',
      uplinks: [{ name: 'eth0', segment: 'eth0', addresses: ['203.0.113.3/24'] }],
      bridges: [{ name: 'vmbr1', addresses: ['10.10.10.1/24'] }],
      routes: ['default via 203.0.113.1'],
      guests: [
        {
          vmid: 109,
          kind: 'qemu',
          firewall: true,
          bridge: 'vmbr1',
          mac: 'BC:24:11:00:01:09',
          address: '10.10.10.109/24',
          gateway: '10.10.10.1',
        },
      ],
      ipForward: true,
    })
    await lab.serve('pve2', 'tcp', 22)
    expect(await lab.ask('200', 'tcp', '203.0.113.3:22')).toMatchObject({
      server: 'pve2',
      seenAs: '203.0.113.50',
    })
    expect(await lab.ask('109', 'tcp', '10.10.10.1:22')).toMatchObject({
      server: 'pve2',
      seenAs: '10.10.10.109',
    })
  })

  test('long-running commands are heard and stopped', async () => {
    const tail = lab.spawn('pve', ['tail', '-n', '+1', '-s', '0.02', '-F', '/run/lock/log'])
    await lab.exec('pve', ['tee', '/run/lock/log'], { input: 'ready: 7\n' })
    expect((await tail.says(/ready: (\d)/))[1]).toBe('7')
    expect(await tail.stop()).toMatchObject({ signal: 'SIGTERM' })
    await expect(lab.exec('pve', ['false'])).rejects.toThrow('false')
    expect((await lab.exec('pve', ['false'], { check: false })).exitCode).toBe(1)
  })

  test('a copied tree can be saved into as the GUI does', async () => {
    const dir = await copyTree(node1Tree)
    expect(await readlink(`${dir}/local`)).toBe('nodes/pve1')
    await saveLikeGui(dir, 'firewall/107.fw', 'new\n')
    await saveInPlace(dir, 'firewall/108.fw', 'newer\n')
    expect(await readFile(`${dir}/firewall/107.fw`, 'utf8')).toBe('new\n')
    expect(await readFile(`${dir}/firewall/108.fw`, 'utf8')).toBe('newer\n')
    await removeTree(dir)
    await expect(waitFor(() => false, { timeoutMs: 30, what: 'rain' })).rejects.toThrow('in vain for rain')
  })
})
