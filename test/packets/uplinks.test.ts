// Several uplinks: answers leave by the uplink by which their connection came, and nothing leaves by a wrong one.
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  addTunnel,
  backends,
  dropForeignSources,
  forgetLeaks,
  leaks,
  snapshot,
  twoProviders,
  uplinkAddresses,
  waitFor,
} from '../lab/index.ts'
import { dealUplinks } from '../chaos/uplinks.ts'
import { SEED } from '../seed.ts'
import { makeLooking } from '../../src/node/asking.ts'
import { readFolder } from '../../src/node/published.ts'
import { testNode } from './node.ts'
import { lateLinkTest } from './late-link.ts'
import { clientOf, guestTests, patience, unacknowledged } from './uplink-guests.ts'
import { loadWgQuick, wgQuickTest } from './wg-quick.ts'

const V4 = Object.values(uplinkAddresses).map((own) => own[4])
const V6 = Object.values(uplinkAddresses).map((own) => `[${own[6]}]`)
const ALL = [...V4, ...V6]
/** The kernel's words for a route that is unreachable. */
const NO_WAY = /unreachable|No route to host/

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
    rules: {
      'firewall/105.fw': ['IN SSH(ACCEPT) # NAT 1022', 'IN ACCEPT -p udp -dport 5005 # NAT 25005'],
    },
    serve: [
      '105:22/tcp',
      '105:5005/udp',
      '107:22/tcp',
      '108:80/tcp',
      '108:5003/udp',
      'inet:443/tcp',
      'pve:9090/tcp',
    ],
    prepare: async ({ lab }) => {
      await addTunnel(lab)
      await dropForeignSources(lab)
      // Else pve-firewall lets nobody to the service of the node.
      const accept = `tables-${backend} -I INPUT -p tcp --dport 9090 -j ACCEPT`
      await lab.exec('pve', ['sh', '-ec', `ip${accept}; ip6${accept}`])
      await loadWgQuick(lab)
    },
    pvenat: 'run',
  })
  const ask = (from: string, to: string) => node.call(from, to, from === 'inet' ? clientOf(to) : {})
  const own = async () => (await node.parts()).own
  const { soon, answers, seenAs, save, marks } = patience(node)

  wgQuickTest(node, ALL)

  test.each(ALL)('forwards, the node’s services and hairpin at %s', async (address) => {
    const client = clientOf(address)
    expect(await ask('inet', `${address}:1022`)).toMatchObject({ server: '105', seenAs: client.from })
    expect(await ask('inet', `${address}:8080`)).toMatchObject({ server: '108', seenAs: client.from })
    expect(await ask('inet', `${address}:15003/udp`)).toMatchObject({ server: '108', seenAs: client.from })
    expect(await ask('inet', `${address}:25005/udp`)).toMatchObject({ server: '105', seenAs: client.from })
    expect(await ask('inet', `${address}:9090`)).toMatchObject({ server: 'pve', seenAs: client.from })
    for (const guest of ['105', '107', '108'])
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

  /** The kernel's own words for the way of an answer with the mark of an uplink. */
  const wayOf = (mark: number) =>
    node.sh(`ip route get 198.51.100.7 from 10.10.10.108 iif vmbr1 mark 0x${mark}000000 2>&1 || true`)

  test('a link that goes down lets nothing out elsewhere, and its connections resume when it is up', async () => {
    const stream = await node.lab.stream('inet', '192.0.2.2:8080', clientOf('192.0.2.2'))
    await node.sh('ip link set eth1 down')
    expect(await wayOf(2)).toMatch(NO_WAY)
    await soon('the service to know', async () =>
      (await node.sh('cat /var/lib/pvenat/state.json')).includes('"down": true'),
    )
    expect(await wayOf(2)).toMatch(NO_WAY)
    await answers('203.0.113.2')
    // No default route comes back in main.
    await node.sh('ip link set eth1 up; ip addr add 2001:db8:2::2/64 dev eth1 nodad')
    await answers('192.0.2.2')
    await answers('[2001:db8:2::2]')
    expect(await stream.ping(3000)).toBe(true)
    await stream.close()
    expect(await leaks(node.lab)).toEqual([])
  })

  lateLinkTest(node)

  test('a gateway that changes is followed', async () => {
    await node.lab.ip('inet', ['addr add 192.0.2.3/24 dev eth1'])
    await node.sh('ip route add default via 192.0.2.3 dev eth1 metric 200')
    await soon('the new gateway', async () =>
      (await node.sh('ip route show table 7702')).includes('default via 192.0.2.3 '),
    )
    await answers('192.0.2.2')
  })

  test('a lease that moves to another address and another gateway is followed', async () => {
    await node.lab.ip('inet', ['addr add 192.0.2.4/24 dev eth1'])
    await save('OUT ACCEPT # NAT via=eth1')
    await seenAs('192.0.2.2')
    // As dhclient-script does it.
    const leased = (address: string, router: string) =>
      node.sh(`ip -4 addr flush dev eth1; ip -4 addr add ${address}/24 broadcast 192.0.2.255 dev eth1
        ip -4 route add default via ${router} dev eth1 metric 200`)
    await leased('192.0.2.9', '192.0.2.4')
    await answers('192.0.2.9')
    await seenAs('192.0.2.9')
    const { again, forget } = await unacknowledged(node, '192.0.2.9')
    await leased('192.0.2.2', '192.0.2.3')
    await again()
    expect(await leaks(node.lab)).toEqual([])
    await forget()
    await answers('192.0.2.2')
    await seenAs('192.0.2.2')
    await save('OUT ACCEPT # NAT')
    await seenAs('203.0.113.2')
    await node.lab.ip('inet', ['addr del 192.0.2.4/24 dev eth1'])
    // Until the service knew an address, the node answered from it by the default route.
    await forgetLeaks(node.lab)
  })

  test('a default route that is deleted is given up, also while the disk is full', async () => {
    const before = await own()
    const routes = await node.sh('ip route show default dev eth1')
    // A mount on which a file is open for writing cannot be made read-only, so another one is.
    await node.sh(`mkdir /run/aside; mount --bind /var/lib/pvenat /run/aside
      mount -o remount,bind,ro /run/aside; mount --bind /run/aside /var/lib/pvenat`)
    for (const line of routes.trim().split('\n')) await node.sh(`ip route del ${line} dev eth1`)
    await soon('the route to be given up', async () => !(await own()).includes('default via 192.0.2.'))
    await node.sh('umount -l /var/lib/pvenat; umount /run/aside; rmdir /run/aside')
    for (const line of routes.trim().split('\n')) await node.sh(`ip route add ${line} dev eth1`)
    await node.repaired(before)
    await answers('192.0.2.2')
    // A client that sent its SYN again while the uplink was given up had its answer by the default route.
    await forgetLeaks(node.lab)
  })

  test('the first uplink goes down and comes back without its default route', async () => {
    await node.sh('ip link set vmbr0 down')
    await answers('192.0.2.2')
    expect(await wayOf(1)).toMatch(NO_WAY)
    await node.sh('ip link set vmbr0 up; ip addr add 2001:db8:113::2/64 dev vmbr0 nodad')
    await answers('203.0.113.2')
    await node.sh('ip route add default via 203.0.113.1; ip -6 route add default via 2001:db8:113::1')
    await answers('[2001:db8:113::2]')
    expect(await leaks(node.lab)).toEqual([])
  })

  test('a tunnel that is made anew works again', async () => {
    await node.sh('ip link del wg0')
    expect(await wayOf(3)).toMatch(NO_WAY)
    await addTunnel(node.lab)
    // In one of a dozen runs an answer left by the default route before this (docs/uplinks.md, limits).
    for (const address of V6.concat(V4)) await answers(address).then(() => forgetLeaks(node.lab))
    for (const address of ['203.0.115.2', '[2001:db8:115::2]']) await answers(address)
    expect(await leaks(node.lab)).toEqual([])
  })

  /** The same in both families. */
  const both = (script: string) => `for f in -4 -6; do ${script}; done`
  const halves = ['0.0.0.0/1', '128.0.0.0/1', '::/3', '2000::/4', '3000::/4', 'fc00::/7']
  test.each([
    [
      'wg-quick’s rules, added without a preference',
      both(`ip $f route add default dev wg0 table 51820
        ip $f rule add not fwmark 51820 table 51820; ip $f rule add table main suppress_prefixlength 0`),
      both(`ip $f rule del table main suppress_prefixlength 0
        ip $f rule del table 51820; ip $f route flush table 51820`),
    ],
    [
      'OpenVPN’s halves',
      halves.map((half) => `ip route add ${half} dev wg0`).join('\n'),
      halves.map((half) => `ip route del ${half} dev wg0`).join('\n'),
    ],
    [
      'a rule from an address of the node',
      `ip rule add from 192.0.2.2 table 100; ip route add default via 192.0.2.1 dev eth1 table 100
        ip -6 rule add from 2001:db8:2::2 table 100; ip -6 route add default via 2001:db8:2::1 dev eth1 table 100`,
      both('ip $f rule del table 100; ip $f route flush table 100'),
    ],
  ])('%s stay, and answers leave as before', async (_, made, gone) => {
    const others = async () =>
      (await node.sh('ip rule; ip -6 rule; ip route show table all'))
        .split('\n')
        .filter((line) => !line.includes('118'))
    await node.sh(made)
    const before = (await others()).sort()
    for (const address of ALL) await answers(address)
    expect((await others()).sort()).toEqual(before)
    await node.sh(gone)
    for (const address of ALL) await answers(address)
  })

  test('marks that others use stop this feature alone, and are told', async () => {
    await node.sh('ip rule add fwmark 0x2000000/0xf000000 table 100')
    await soon('the marks to go', async () => !(await marks()).includes('PVENAT-UPLINK'))
    expect((await node.pvenat.run('status')).stdout).toMatch(
      /WARNING[^]*IPv4 answers leave by the default route alone/,
    )
    await answers('203.0.113.2')
    await node.sh('ip rule del fwmark 0x2000000/0xf000000 table 100')
    await answers('192.0.2.2')
  })

  guestTests(node)

  test('after each card of chaos all uplinks answer within a second', async () => {
    for (const play of dealUplinks(SEED, Number(process.env['STEPS'] ?? 6))) {
      await play(node)
      for (const address of V4) await answers(address)
    }
    await node.converged()
  }, 60_000)

  test('connections and bytes are counted by uplink', async () => {
    const runDir = `/proc/${node.lab.ns('pve').pid}/root/run/pvenat`
    // While nobody looks, the service counts as seldom as it reads the kernel for another reason.
    const looking = makeLooking(runDir)
    looking(true)
    onTestFinished(() => looking(false))
    for (const [uplink, { 4: address }] of Object.entries(uplinkAddresses)) {
      await save(`OUT ACCEPT # NAT via=${uplink}`)
      await seenAs(address)
      await answers(address)
      const since = new Date().toISOString()
      const isCounted = async () => {
        const { at = '', uplinks } = (await readFolder(runDir)).counters ?? {}
        return at > since && (uplinks?.get(uplink) ?? [0]).every((count) => count > 0)
      }
      await waitFor(isCounted, { what: `the counters of ${uplink}` })
    }
    await save('OUT ACCEPT # NAT')
    await seenAs('203.0.113.2')
    const { stdout } = await node.pvenat.run('metrics')
    for (const uplink of Object.keys(uplinkAddresses))
      expect(stdout).toMatch(
        new RegExp(
          `connections_total{uplink="${uplink}",direction="in"} [1-9][^]*_bytes_total{uplink="${uplink}"} [1-9]`,
        ),
      )
  }, 60_000)

  test('plan has nothing to do, list and status name the uplinks', async () => {
    expect((await node.pvenat.run('plan')).stdout).toContain('everything is in force')
    expect((await node.pvenat.run('list')).stdout).toMatch(/UPLINK[^]*vmbr0,eth1,wg0/)
    expect((await node.pvenat.run('status')).stdout).toMatch(
      /uplinks +vmbr0 by 203\.0\.113\.1 and 2001:db8:113::1, mark/,
    )
    await node.lab.ip('inet', ['addr del 192.0.2.3/24 dev eth1'])
  })

  test('rollback leaves rules, routes, sysctls and tables as they were', async () => {
    await node.pvenat.service?.stop()
    expect((await node.pvenat.run('rollback', '--dry-run')).stdout).toContain(
      'would remove routing rules (IPv4)',
    )
    await node.pvenat.run('rollback')
    // The default route that went with its link is the administrator's.
    await node.sh(
      'ip route replace default via 192.0.2.1 dev eth1 metric 200; ip -6 route replace default via 2001:db8:2::1 dev eth1 metric 2000',
    )
    // The tunnel is another one by now.
    const nameless = (text: string) => text.replaceAll(/@if\d+/g, '')
    expect(nameless(await snapshot(node.lab))).toBe(nameless(node.untouched))
  })

  test('a strict reverse path filter is loosened, and strict again after rollback', async () => {
    await node.sh('sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=1')
    await node.apply()
    expect(await node.lab.sysctl('pve', 'net/ipv4/conf/eth1/rp_filter')).toBe('2')
    expect(await ask('inet', '192.0.2.2:8080')).toMatchObject({ server: '108' })
    await node.pvenat.run('rollback')
    expect(await node.lab.sysctl('pve', 'net/ipv4/conf/eth1/rp_filter')).toBe('1')
    await node.sh('sysctl -qw net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.eth1.rp_filter=0')
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
