// Each finding of doctor about the node itself, by really breaking the thing: sysctls, what is in force, and other people's rules.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { waitFor } from '../lab/index.ts'
import * as ailments from './ailing.ts'
import { findingTests, found, SSH } from './findings.ts'

const ailing = new ailments.Ailing()
const { node } = ailing
// What is not translated is answered, too.
beforeAll(() => node.lab.ip('inet', ['route add 10.10.10.0/24 via 203.0.113.2']))

const flushNeighbours = () => node.lab.exec('107', ['ip', 'neigh', 'flush', 'all'])

const SETTINGS_GONE = () => ailing.sh('rm -rf /etc/pvenat')
/** The service, which does not run here, moves the rules to the other backend. */
const swept = async () => {
  const service = node.pvenat.launch()
  await service.says(/removed leftovers of the \w+ backend/, 20_000).finally(() => service.stop())
}

const CONNTRACK = '/proc/sys/net/netfilter/nf_conntrack'

/** A provider drops what is not from its network. */
const fromElsewhere = (verb: '-A' | '-D') =>
  node.lab.exec('inet', [
    'sh',
    '-c',
    `iptables-nft -t raw ${verb} PREROUTING -i eth0 ! -s 203.0.113.0/24 -j DROP`,
  ])

const MASQUERADE = '-t nat -A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE'

/** An exemption for one destination, which a masquerade of others would undo. */
async function exempt(): Promise<void> {
  const rule = 'OUT ACCEPT -source dc/lan -dest 198.51.100.7 # NAT none\n'
  await ailing.edit('firewall/cluster.fw', /^OUT/m, `${rule}OUT`)
  await node.pvenat.run('apply')
}

findingTests(ailing, {
  'firewall-off: of the datacenter': {
    breaks: () => ailing.edit('firewall/cluster.fw', 'enable: 1', 'enable: 0'),
    severity: 'error',
    ask: SSH,
    after: SETTINGS_GONE,
  },
  'firewall-off: of a guest': {
    breaks: () => ailing.edit('firewall/105.fw', 'enable: 1', 'enable: 0'),
    severity: 'error',
    ask: SSH,
    after: SETTINGS_GONE,
  },
  'forwarding-off-v4': { ...ailments.NO_FORWARDING, severity: 'error', ask: SSH },
  'forwarding-off-v6': {
    breaks: async () => {
      // The node learns the guest's IPv6 address before, and not from the packet that is asked about.
      await node.call('105', '[fd10::1]:22', { timeoutMs: 300 })
      const rule = 'IN ACCEPT -dest fd10::105 -p tcp -dport 22 # NAT 6022'
      await ailing.edit('firewall/cluster.fw', /^OUT/m, `${rule}\nOUT`)
    },
    thenBreaks: () => ailing.sysctl('net.ipv6.conf.all.forwarding', 0),
    severity: 'error',
    ask: { ...SSH, to: '[2001:db8:113::2]:6022' },
  },
  'conntrack-missing': {
    ...ailments.notLoaded('netfilter'),
    severity: 'error',
  },
  // Only the first namespace of a machine may set the limit, so a file stands in for it.
  'conntrack-full': {
    breaks: () => ailing.sh(`cat ${CONNTRACK}_count >/run/limit; mount --bind /run/limit ${CONNTRACK}_max`),
    severity: 'error',
    after: async () => {
      expect(await node.text('nodes/pve1/host.fw')).not.toContain('nf_conntrack_max')
      await ailing.sh(`umount ${CONNTRACK}_max`)
    },
  },
  'forwarding-off-interface': {
    breaks: () => ailing.sysctl('net.ipv4.conf.vmbr1.forwarding', 0),
    severity: 'error',
    ask: SSH,
  },
  'rp-filter-off': {
    breaks: async () => {
      await ailing.sysctl('net.ipv4.conf.all.rp_filter', 0)
      await flushNeighbours()
    },
    severity: 'error',
    follows: flushNeighbours,
    ask: { from: '107', to: '203.0.113.1:443', mended: { seenAs: '203.0.113.2' } },
  },
  'rp-filter-strict': {
    ...ailments.STRICT_FILTER,
    severity: 'error',
    ask: { ...SSH, as: '198.51.100.7', to: '192.0.2.2:1022' },
  },
  'bridge-nf-off': {
    breaks: () => ailing.sysctl('net.bridge.bridge-nf-call-iptables', 0),
    severity: 'warning',
    ask: { from: '105', to: '10.10.10.107:22', broken: { server: '107' } },
  },
  'bridge-nf-off: br_netfilter is not loaded': {
    breaks: async () => {
      await ailing.sysctl('net.bridge.bridge-nf-call-iptables', 0)
      await ailments.notLoaded('bridge').breaks(ailing)
    },
    severity: 'warning',
    ask: { from: '105', to: '10.10.10.107:22', broken: { server: '107' } },
  },
  uplink: {
    breaks: async () => {
      await node.sh('ip rule add fwmark 0x1000000/0x1000000 lookup 77')
      await fromElsewhere('-A')
      await node.pvenat.run('apply')
    },
    severity: 'warning',
    ask: {
      from: 'inet',
      as: '198.51.100.7',
      to: '192.0.2.2:1022',
      broken: 'none',
      mended: { server: '105' },
    },
    hasNoFix: true,
    types: () => ailing.edit('pvenat.conf', /$/, 'uplink-mark = 0x100000/0xf00000\n'),
    after: async () => {
      await node.sh('ip rule del fwmark 0x1000000/0x1000000 lookup 77')
      await fromElsewhere('-D')
    },
  },
  'no-external': {
    breaks: async () => {
      await node.sh(
        'for via in 203.0.113.1 192.0.2.1 2001:db8:113::1; do ip route del default via $via; done',
      )
      // An uplink is given up by the second look that misses its route.
      for (let looks = 0; looks < 2; looks++) await node.pvenat.run('apply')
    },
    severity: 'error',
    ask: SSH,
    hasNoFix: true,
    types: () => node.sh('ip route add default via 203.0.113.1'),
    after: () =>
      node.sh(
        'ip route add default via 192.0.2.1 dev eth1 metric 500; ip route add default via 2001:db8:113::1',
      ),
  },
  'behind-nat': {
    breaks: async () => {
      await node.lab.ip('pve', [
        'link add wan0 type veth peer name wan1',
        'addr add 192.168.7.2/24 dev wan0',
        'link set wan0 up',
      ])
      await ailing.edit('pvenat.conf', /$/, 'external = +wan0\n')
    },
    severity: 'info',
    ask: { ...SSH, to: '192.168.7.2:1022' },
    hasNoFix: true,
    after: () => node.lab.ip('pve', ['link del wan0']),
  },
  'forward-policy-other': { ...ailments.OTHER_BACKEND_DROPS, severity: 'error', ask: SSH },
  'not-in-force': { ...ailments.CHAIN_FLUSHED, severity: 'error', ask: SSH },
  'loop-missing': {
    ...ailments.LOOP_GONE,
    severity: 'error',
    ask: { from: '107', to: '203.0.113.2:822', broken: 'none', mended: { server: '107' } },
  },
  'own-leftovers': {
    breaks: () =>
      ailing.sh(`for chain in DNAT PREROUTING EG-10.10.10.0/28; do nft -t nat -N PVENAT-$chain; done
        nft -t nat -A PVENAT-PREROUTING -j PVENAT-DNAT; nft -t nat -I PREROUTING -j PVENAT-PREROUTING`),
    severity: 'error',
    ask: { ...SSH, broken: { server: '105' } },
  },
  'foreign-forward': {
    // A guest's rule would give way to it.
    breaks: async () => {
      const rule = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 22 # NAT 1122\n'
      await ailing.edit('firewall/cluster.fw', /^OUT/m, `${rule}OUT`)
      await node.pvenat.run('apply')
      await ailing.sh(`nft -t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 1122 -j DNAT --to 10.10.10.108:80 \\
        -m comment --comment "it's \\"mine\\" \\$(touch /run/owned)"`)
    },
    severity: 'error',
    ask: { from: 'inet', to: '203.0.113.2:1122', mended: { server: '105' } },
    after: () => ailing.sh('nft -t nat -F PREROUTING'),
  },
  'foreign-forward: of a port that a guest asks for': {
    breaks: () =>
      ailing.sh('nft -t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 1022 -j DNAT --to 10.10.10.108:80'),
    severity: 'error',
    ask: { from: 'inet', to: '203.0.113.2:1022', mended: { server: '105' } },
    after: () => ailing.sh('nft -t nat -F PREROUTING'),
  },
  'foreign-masquerade': {
    breaks: async () => {
      await exempt()
      await ailing.sh(`legacy ${MASQUERADE}`)
    },
    // In the tables that pvenat uses an exemption is final, whatever stands behind it.
    severity: 'warning',
    ask: {
      from: '105',
      to: '198.51.100.7:443',
      broken: { seenAs: '10.10.10.105' },
      mended: { seenAs: '10.10.10.105' },
    },
  },
  'foreign-masquerade: nothing of pvenat replaces it yet': {
    breaks: async () => {
      await ailing.edit('firewall/cluster.fw', /^OUT .*\n/m, '')
      await node.pvenat.run('apply')
      // Twice, and again at each boot.
      await ailing.sh(`legacy ${MASQUERADE}; legacy ${MASQUERADE}; mkdir -p /etc/network
        printf '%s\\n' 'iface vmbr1 inet static' ' address 10.10.10.1/24' \
          ' post-up iptables ${MASQUERADE.replace('10.10.10.0', '10.10.10.1')}' >/etc/network/interfaces`)
      const [first, ...others] = (await found(ailing)).filter(({ id }) => id === 'foreign-masquerade')
      expect(others).toEqual([])
      expect(first?.restsOn.at(-1)).toMatch(/^\/etc\/network\/interfaces:3: post-up iptables /)
    },
    severity: 'warning',
    ask: {
      from: '105',
      to: '198.51.100.7:443',
      broken: { seenAs: '203.0.113.2' },
      mended: { seenAs: '203.0.113.2' },
    },
    after: async () => {
      expect(await ailing.sh('cat /etc/network/interfaces')).toMatch(/^# +post-up iptables /m)
      expect(await ailing.sh('iptables-legacy -t nat -S POSTROUTING')).not.toContain('MASQUERADE')
      await ailing.sh('rm -r /etc/network')
    },
  },
  'foreign-masquerade: Docker puts it back': {
    breaks: async () => {
      await exempt()
      await ailing.sh('legacy -t nat -A POSTROUTING -s 10.10.10.0/24 ! -o docker0 -j MASQUERADE')
    },
    severity: 'warning',
    hasNoFix: true,
    after: () => ailing.sh('legacy -t nat -D POSTROUTING -s 10.10.10.0/24 ! -o docker0 -j MASQUERADE'),
  },
  'sdn-snat': {
    breaks: async () => {
      const words = '-t nat -A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j SNAT --to-source 203.0.113.2'
      await ailing.sh(`legacy ${words}`)
      const subnet = { vnet: 'vmbr1', snat: 1, rule: `iptables-legacy -w ${words}` }
      const config = JSON.stringify({ subnets: { ids: { 'lan-10.10.10.0-24': subnet } } })
      await mkdir(join(node.tree, 'sdn'), { recursive: true })
      await writeFile(join(node.tree, 'sdn/.running-config'), config)
    },
    severity: 'warning',
  },
  'two-backends': {
    breaks: () => ailing.sh('nft -t nat -A POSTROUTING -s 172.17.0.0/16 -o tun0 -j MASQUERADE'),
    severity: 'warning',
    after: () => ailing.sh('legacy -t nat -D POSTROUTING -s 172.17.0.0/16 -o tun0 -j MASQUERADE'),
  },
  'cycle-fails': {
    breaks: () => ailing.edit('firewall/cluster.fw', '[OPTIONS]\n', '[OPTIONS]\nlog_ratelimit: loud\n'),
    severity: 'error',
    ask: { ...SSH, broken: { server: '105' } },
  },
  'sport-backend': {
    // pve-firewall is where the node's alternatives are.
    breaks: async () => {
      await ailing.edit('pvenat.conf', /^backend.*\n/m, '')
      await ailing.sh(`ln -sfn /usr/sbin/iptables-legacy /etc/alternatives/iptables
        mkdir -p /etc/pvenat; printf '[nat]\\nbackend = nft\\n' >/etc/pvenat/pvenat.conf`)
      await swept()
    },
    severity: 'error',
    ask: { from: 'inet', to: '203.0.113.2:822', broken: 'none', mended: { server: '107' } },
    follows: swept,
    after: SETTINGS_GONE,
  },
  'forward-policy': {
    breaks: async () => {
      await ailing.sh('legacy -P FORWARD DROP')
      await node.pvenat.run('apply')
    },
    severity: 'info',
    ask: { ...SSH, broken: { server: '105' } },
    hasNoFix: true,
    after: () => ailing.sh('legacy -P FORWARD ACCEPT'),
  },
  'pve-unreadable': {
    breaks: () => node.unmount(),
    severity: 'error',
  },
})

test('unread: whoever may not read the rules is told, and not that all is well', async () => {
  const [runtime = '', ...words] = node.pvenat.argv('doctor', '--json')
  const asked = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin', runtime, ...words]
  const { stdout } = await node.lab.exec('pve', asked, { check: false })
  expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ id: 'unread', severity: 'warning' }))
  expect((await found(ailing)).map(({ id }) => id)).not.toContain('unread')
})

test('explain tells of Docker’s policy', async () => {
  await ailing.sh('legacy -P FORWARD DROP')
  await node.pvenat.run('apply')
  const { stdout } = await node.pvenat.run('explain', 'tcp', '203.0.113.1', '203.0.113.2:1022')
  expect(stdout).toMatch(/policy of FORWARD is DROP.*pvenat lets this packet pass/)
  await ailing.sh('legacy -P FORWARD ACCEPT')
  await node.pvenat.run('apply')
})

test('a service that runs: nothing to say', async () => {
  const stopped = { id: 'service-stopped', fix: ['systemctl enable --now pvenat'] }
  expect(await found(ailing)).toMatchObject([stopped])
  expect(await node.pvenat.run('doctor')).toMatchObject({ exitCode: 1 })
  // It says nothing: all is in force.
  node.pvenat.launch()
  await waitFor(async () => (await node.pvenat.run('doctor')).exitCode === 0, {
    what: 'doctor to be content',
  })
  expect((await node.pvenat.run('doctor')).stdout).toBe('nothing on this node keeps NAT from working')
})
