/** What in the kernel keeps NAT from working: forwarding, reverse path filters, bridges, connection tracking. */
import { FAMILIES } from '../address.ts'
import { FORWARDING, rpFilter } from '../facts.ts'
import { sysctlCommand } from '../fixes.ts'
import type { Check, Finding, Patient } from './finding.ts'

export const forwardingOff: Check = ({ facts, ruleset }) =>
  FAMILIES.filter((family) => ruleset.chains[family].length > 0).flatMap((family): Finding[] => {
    const path = FORWARDING[family]
    if (facts.sysctls.get(path) !== '0') return []
    return [
      {
        ...{ id: `forwarding-off-v${family}`, severity: 'error' },
        finding: `This node does not forward IPv${family} packets.`,
        restsOn: [`${dotted(path)} = 0`],
        fix: [sysctlCommand(path, 1)],
        why: 'Packets of guests, and those that are forwarded to them, end at the node.',
      },
    ]
  })

/** pve-firewall ships the value 2 for `all`; the larger of `all` and the interface counts. */
export const rpFilterOff: Check = ({ facts, view }) => {
  const bridges = facts.links.filter(({ name }) => name.startsWith('fwbr')).map(({ name }) => name)
  const open = bridges.filter((name) => rpFilter(facts, name) === 0)
  if (view.firewall !== 'iptables' || open.length === 0) return []
  return [
    {
      ...{ id: 'rp-filter-off', severity: 'error' },
      finding: `The firewall bridges of guests answer ARP for the gateway: ${some(open)} have no reverse path filter.`,
      restsOn: [`net.ipv4.conf.all.rp_filter = ${facts.sysctls.get('net/ipv4/conf/all/rp_filter') ?? '?'}`],
      fix: [sysctlCommand('net/ipv4/conf/all/rp_filter', 2)],
      why: 'Packets of these guests go to the firewall bridge instead of the node’s, and are neither routed nor translated as they should be.',
    },
  ]
}

export const rpFilterStrict: Check = ({ facts, view }) => {
  const external = view.network.external.filter(({ families }) => families.includes(4))
  if (external.length < 2) return []
  return external
    .filter(({ name }) => rpFilter(facts, name) === 1)
    .map(({ name }) => ({
      ...{ id: 'rp-filter-strict', severity: 'error' as const },
      finding: `Strict reverse path filtering on ${name} drops clients whose route leads by another external interface.`,
      restsOn: ['all', name].map(
        (dev) =>
          `net.ipv4.conf.${dev}.rp_filter = ${facts.sysctls.get(`net/ipv4/conf/${dev}/rp_filter`) ?? '?'}`,
      ),
      fix: [sysctlCommand(`net/ipv4/conf/${name}/rp_filter`, 2)],
      why: `Forwards at the addresses of ${name} work for some clients only.`,
    }))
}

export const bridgesUnfiltered: Check = ({ facts, view }) => {
  const bridges = facts.links.filter(({ name }) => name.startsWith('fwbr'))
  if (view.firewall !== 'iptables' || bridges.length === 0) return []
  const path = 'net/bridge/bridge-nf-call-iptables'
  const value = facts.sysctls.get(path)
  if (value === '1') return []
  return [
    {
      ...{ id: 'bridge-nf-off', severity: 'warning' },
      finding: 'Bridged packets do not meet iptables, so the firewall rules of guests are not in force.',
      restsOn: [value === undefined ? 'the module br_netfilter is not loaded' : `${dotted(path)} = ${value}`],
      fix: [
        ...(value === undefined ? ['modprobe br_netfilter'] : []),
        sysctlCommand(path, 1),
        sysctlCommand('net/bridge/bridge-nf-call-ip6tables', 1),
      ],
      why: 'Whatever you forward is let into the guest; pve-firewall sets this every ten seconds while it runs, so see: systemctl status pve-firewall.',
    },
  ]
}

const FULL = 0.9

export const conntrackFull: Check = ({ facts, view }) => {
  const [count, max] = ['count', 'max'].map((name) =>
    Number(facts.sysctls.get(`net/netfilter/nf_conntrack_${name}`) ?? NaN),
  ) as [number, number]
  if (!(count >= max * FULL)) return []
  return [
    {
      ...{ id: 'conntrack-full', severity: 'error' },
      finding: `The table of connections is nearly full: ${count} of ${max}.`,
      restsOn: [`net.netfilter.nf_conntrack_count = ${count}`, `net.netfilter.nf_conntrack_max = ${max}`],
      fix: [
        sysctlCommand('net/netfilter/nf_conntrack_max', max * 2),
        `pvesh set /nodes/${view.node}/firewall/options --nf_conntrack_max ${max * 2}`,
      ],
      why: 'New connections are dropped while it is full.',
    },
  ]
}

export const modulesMissing: Check = ({ facts, ruleset }: Patient) => {
  const isWanted = FAMILIES.some((family) => ruleset.chains[family].length > 0)
  if (!isWanted || facts.sysctls.has('net/netfilter/nf_conntrack_max')) return []
  return [
    {
      ...{ id: 'conntrack-missing', severity: 'error' },
      finding: 'The kernel does not track connections: nf_conntrack is not loaded.',
      restsOn: ['/proc/sys/net/netfilter/nf_conntrack_max is missing'],
      fix: ['modprobe nf_conntrack'],
      why: 'NAT rests on it.',
    },
  ]
}

function dotted(path: string): string {
  return path.replaceAll('/', '.')
}

const MAX_NAMED = 3

/** The first few of a list, and how many more there are. */
function some(names: readonly string[]): string {
  const more = names.length - MAX_NAMED
  return names.slice(0, MAX_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '')
}
