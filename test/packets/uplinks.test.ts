// Several uplinks: answers leave by the uplink by which their connection came, and nothing leaves by a wrong one.
import { describe, expect, test } from 'vitest'
import {
  addTunnel,
  backends,
  dropForeignSources,
  leaks,
  snapshot,
  twoProviders,
  uplinkAddresses,
} from '../lab/index.ts'
import { testNode } from './node.ts'

const V4 = Object.values(uplinkAddresses).map((own) => own[4])
const V6 = Object.values(uplinkAddresses).map((own) => `[${own[6]}]`)
const ALL = [...V4, ...V6]
/** Hosts of the internet that no provider's network has. */
const clientOf = (address: string) => ({ from: address.startsWith('[') ? '2001:db8:51::7' : '198.51.100.7' })

describe.each(backends)('three uplinks, %s', (backend) => {
  const node = testNode(backend, {
    lab: twoProviders,
    firewall: true,
    settings: 'external = +wg0\ninterval = 600',
    edits: Object.fromEntries(
      ['lxc/105', 'lxc/108', 'qemu-server/107'].map((guest) => [
        `nodes/pve1/${guest}.conf`,
        (text: string) => text.replace(/ip=10\.10\.10\.(\d+)\/24/, '$&,ip6=fd10::$1/64'),
      ]),
    ),
    serve: ['105:22/tcp', '107:22/tcp', '108:80/tcp', '108:5003/udp', 'inet:443/tcp', 'pve:9090/tcp'],
    prepare: async ({ lab }) => {
      await addTunnel(lab)
      await dropForeignSources(lab)
      // Else pve-firewall lets nobody to the service of the node.
      const accept = `tables-${backend} -I INPUT -p tcp --dport 9090 -j ACCEPT`
      await lab.exec('pve', ['sh', '-ec', `ip${accept}; ip6${accept}`])
    },
    pvenat: 'run',
  })
  const ask = (from: string, to: string) => node.call(from, to, from === 'inet' ? clientOf(to) : {})
  const own = async () => (await node.parts()).own

  test.each(ALL)('forwards, the node’s services and hairpin at %s', async (address) => {
    const client = clientOf(address)
    expect(await ask('inet', `${address}:1022`)).toMatchObject({ server: '105', seenAs: client.from })
    expect(await ask('inet', `${address}:8080`)).toMatchObject({ server: '108', seenAs: client.from })
    expect(await ask('inet', `${address}:15003/udp`)).toMatchObject({ server: '108', seenAs: client.from })
    expect(await ask('inet', `${address}:9090`)).toMatchObject({ server: 'pve', seenAs: client.from })
    for (const guest of ['105', '107'])
      expect(await ask(guest, `${address}:8080`)).toMatchObject({ server: '108' })
    expect(await ask('105', `${address}:1022`)).toMatchObject({ server: '105' })
  })

  test('one client port reaches one guest port by three uplinks at once', async () => {
    for (const address of V4)
      expect(
        await node.call('inet', `${address}:8080`, { ...clientOf(address), fromPort: 4321 }),
      ).toMatchObject({
        server: '108',
      })
  })

  test('no packet left by a wrong uplink', async () => {
    expect(await leaks(node.lab)).toEqual([])
  })

  test.each([
    ['a rule', 'ip rule del priority 7701 fwmark 0x2000000/0xf000000; ip -6 rule del priority 7700'],
    ['a route', 'ip route flush table 7702; ip -6 route flush table 7703'],
    ['the marks', `iptables-${backend} -w -t mangle -F; ip6tables-${backend} -w -t mangle -F`],
    ['a rule that was doubled', 'ip rule add priority 7701 fwmark 0x2000000/0xf000000 table 99 protocol 118'],
  ])('%s that somebody deletes is put back within a second', async (_, script) => {
    const before = await own()
    await node.sh(script)
    const tookMs = await node.repaired(before)
    expect(tookMs).toBeLessThan(await node.fair(1000, tookMs))
    for (const address of ALL) expect(await ask('inet', `${address}:8080`)).toMatchObject({ server: '108' })
  })

  test('plan has nothing to do, list and status name the uplinks', async () => {
    expect((await node.pvenat.run('plan')).stdout).toContain('everything is in force')
  })

  test('rollback leaves rules, routes, sysctls and tables as they were', async () => {
    await node.pvenat.service?.stop()
    expect((await node.pvenat.run('rollback', '--dry-run')).stdout).toContain(
      'would remove routing rules (IPv4)',
    )
    await node.pvenat.run('rollback')
    expect(await snapshot(node.lab)).toBe(node.untouched)
  })

  test('at boot the same is in force again before anything else is read', async () => {
    await node.apply()
    const before = await own()
    const saved = await node.sh('cat /var/lib/pvenat/inforce.json')
    await node.pvenat.run('rollback')
    await node.sh(`mkdir -p /var/lib/pvenat; cat > /var/lib/pvenat/inforce.json <<'X'\n${saved}\nX`)
    expect(await node.pvenat.run('restore')).toMatchObject({ exitCode: 0 })
    expect(await own()).toBe(before)
    expect(await ask('inet', `${V4[1]}:8080`)).toMatchObject({ server: '108' })
  })

  test('one uplink: no rule, no route, no chain', async () => {
    await node.pvenat.configure()
    await node.sh('ip route del default dev eth1; ip -6 route del default dev eth1')
    await node.apply()
    expect(await own()).not.toMatch(/proto(col)? 118/)
    expect(
      await node.sh(`iptables-${backend}-save -t mangle; ip6tables-${backend}-save -t mangle`),
    ).not.toContain('PVENAT')
  })
})
