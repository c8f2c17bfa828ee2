/** Nodes with a fault each, by facts alone: versions, modules, a full table, what systemd says. */
import { parseIp, type Range } from '../../src/address.ts'
import { examine } from '../../src/checks/doctor.ts'
import type { Finding, Patient } from '../../src/checks/finding.ts'
import type { View } from '../../src/nat/view.ts'
import { FACTS, worldAt } from '../explain/world.ts'

const FILES = new Map([
  ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -source 10.10.10.0/24 # NAT\n'],
])

/** What is found on a node that has no fault but these. */
export function examined(
  change: Partial<Patient> = {},
  facts: Partial<Patient['facts']> = {},
  files = FILES,
): Finding[] {
  const world = worldAt(files, facts)
  return examine({ ...world, sdnSnat: [], differs: [], errors: 0, ...change })
}

export function withSysctl(path: string, value: string | undefined): Partial<Patient['facts']> {
  const sysctls = new Map(FACTS.sysctls)
  if (value === undefined) sysctls.delete(path)
  else sysctls.set(path, value)
  return { sysctls }
}

function onNetwork(external: View['network']['external']): Finding[] {
  const { view } = worldAt(FILES)
  return examined({ view: { ...view, network: { ...view.network, external } } })
}

const CARRIER = {
  name: 'vmbr0',
  addresses: [parseIp('100.64.3.4') as Range],
  families: [4 as const],
  networks: [],
}
const UPLINKS = ['203.0.113.2', '192.0.2.2'].map((address, index) => ({
  ...CARRIER,
  name: `vmbr${index}`,
  addresses: [parseIp(address) as Range],
  uplink: { index, ways: { 4: index === 0 ? { gateway: '203.0.113.1' } : { down: true as const } } },
}))
/** Packets of guests are marked, and a rule of others restores the marks of before. */
function withMarkSetter(priority: number): Finding[] {
  const { ruleset } = worldAt(FILES)
  const about = { family: 'ip', table: 'wg-quick-wg1', name: 'premangle', policy: 'accept' } as const
  const statements = [{ mangle: { key: { meta: { key: 'mark' } }, value: { ct: { key: 'mark' } } } }]
  const rules = [{ handle: 5, statements }]
  const chains = [{ ...about, type: 'filter', hook: 'prerouting', priority, rules }]
  const marked = {
    ...ruleset.chains,
    4: [{ table: 'mangle' as const, name: 'PVENAT-UPLINK', rules: [], texts: [] }],
  }
  return examined({ ruleset: { ...ruleset, chains: marked } }, { nftables: { chains, sets: new Map() } })
}

const V6 = new Map([
  ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -source fd10::/64 # NAT\n'],
])

/** The fault, all that is found, the severity and id of that, and its fix. */
export const FAULTS: readonly [fault: string, findings: readonly Finding[], id: string, fix: string[]][] = [
  [
    'a table of connections that is nearly full',
    examined({}, withSysctl('net/netfilter/nf_conntrack_count', '950')),
    'error conntrack-full',
    [
      'sysctl -w net.netfilter.nf_conntrack_max=2000',
      'pvesh set /nodes/pve1/firewall/options --nf_conntrack_max 2000',
    ],
  ],
  [
    'no connection tracking',
    examined({}, withSysctl('net/netfilter/nf_conntrack_max', undefined)),
    'error conntrack-missing',
    ['modprobe nf_conntrack'],
  ],
  [
    'no br_netfilter',
    examined({}, withSysctl('net/bridge/bridge-nf-call-iptables', undefined)),
    'warning bridge-nf-off',
    [
      'modprobe br_netfilter',
      'sysctl -w net.bridge.bridge-nf-call-iptables=1',
      'sysctl -w net.bridge.bridge-nf-call-ip6tables=1',
    ],
  ],
  [
    'an old Node.js',
    examined({}, { versions: { ...FACTS.versions, node: '18.9.1' } }),
    'error version-old',
    ['apt install nodejs'],
  ],
  [
    'no conntrack',
    examined({}, { versions: { ...FACTS.versions, conntrack: '' } }),
    'error program-missing',
    ['apt install conntrack'],
  ],
  [
    'a service that boot does not start',
    examined({}, { service: { running: true, enabled: 'disabled' } }),
    'warning service-disabled',
    ['systemctl enable pvenat'],
  ],
  [
    'a service that does not run',
    examined({}, { service: { running: false } }),
    'error service-stopped',
    ['systemctl enable --now pvenat'],
  ],
  [
    'what could not be read',
    examined({}, { unread: ['iptables-legacy-save: permission denied'] }),
    'warning unread',
    [],
  ],
  [
    'a node that does not forward IPv6',
    examined({}, withSysctl('net/ipv6/conf/all/forwarding', '0'), V6),
    'error forwarding-off-v6',
    ['sysctl -w net.ipv6.conf.all.forwarding=1'],
  ],
  [
    'a bridge that is excepted from forwarding',
    examined({}, withSysctl('net/ipv4/conf/vmbr1/forwarding', '0')),
    'error forwarding-off-interface',
    ['sysctl -w net.ipv4.conf.vmbr1.forwarding=1'],
  ],
  [
    'guests that still hang behind a firewall bridge beside the nftables firewall',
    examined({ ruleset: { ...worldAt(FILES).ruleset, hasBridgeZone: true } }),
    'error bridge-zone',
    ['modprobe nf_conntrack_bridge; pvenat apply'],
  ],
  ['an external address that the internet does not route', onNetwork([CARRIER]), 'info behind-nat', []],
  ['one of several uplinks that is down', onNetwork(UPLINKS), 'warning uplink', []],
  [
    'a table of others that may take marks away',
    withMarkSetter(-150),
    'warning uplink',
    [
      "{ echo 'delete table ip wg-quick-wg1'; nft -y list table ip wg-quick-wg1 | sed 's/prerouting priority -150;/prerouting priority -151;/'; } | nft -f -",
    ],
  ],
  ['a table of others that takes marks away', withMarkSetter(-149), 'warning uplink', []],
  ['no external interface', onNetwork([]), 'error no-external', []],
]
