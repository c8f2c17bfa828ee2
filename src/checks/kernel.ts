/** What in the kernel keeps NAT from working: forwarding, reverse path filters, bridges, connection tracking. */
import { FAMILIES, type Family } from '../address.ts'
import { bridgeNetfilter, forwardingOf, rpFilter, rpFilterRead, type NodeFacts } from '../facts/node-facts.ts'
import { quoted, sysctlCommand } from '../facts/fixes.ts'
import { markSetters, type MarkSetter } from '../facts/mark-setters.ts'
import type { NftChain } from '../facts/nftables.ts'
import type { View } from '../nat/view.ts'
import { dotted, FORWARDING } from '../sysctls.ts'
import { hex, uplinkTroubles } from '../ruleset/uplinks.ts'
import { wantedFamilies, type Check, type Finding, type Patient } from './finding.ts'

export const forwardingOff: Check = (patient) =>
  wantedFamilies(patient).flatMap((family) => familyUnforwarded(patient.facts, family) ?? [])

export function familyUnforwarded({ sysctls }: NodeFacts, family: Family): Finding | undefined {
  const path = FORWARDING[family]
  if (sysctls.get(path) !== '0') return undefined
  return {
    id: `forwarding-off-v${family}`,
    severity: 'error',
    finding: `This node does not forward IPv${family} packets.`,
    restsOn: [`${dotted(path)} = 0`],
    fix: [sysctlCommand(path, 1)],
    why: 'Packets of guests, and those that are forwarded to them, end at the node.',
  }
}

export const interfaceForwardingOff: Check = ({ facts, view }) => {
  if (familyUnforwarded(facts, 4)) return undefined
  const { external, internal } = view.network
  const names = new Set([...external.map(({ name }) => name), ...internal.map(({ bridge }) => bridge)])
  return [...names].flatMap((name) => interfaceUnforwarded(facts, name) ?? [])
}

/** An interface that somebody excepted from forwarding. */
export function interfaceUnforwarded({ sysctls }: NodeFacts, name: string): Finding | undefined {
  const path = forwardingOf(name)
  if (sysctls.get(path) !== '0') return undefined
  return {
    id: 'forwarding-off-interface',
    severity: 'error',
    finding: `IPv4 packets and answers that come by ${name} are not forwarded.`,
    restsOn: [`${dotted(path)} = 0`],
    fix: [sysctlCommand(path, 1)],
    why: 'They end at the node.',
  }
}

/** The firewall bridges of guests; none where iptables has no say. */
function firewallBridges({ facts, view }: Patient): string[] {
  return view.firewall === 'iptables'
    ? facts.links.map(({ name }) => name).filter((name) => name.startsWith('fwbr'))
    : []
}

/** pve-firewall ships the value 2 for `all`; the larger of `all` and the interface counts. */
export const rpFilterOff: Check = (patient) => {
  const { facts } = patient
  const open = firewallBridges(patient).filter((name) => rpFilter(facts, name) === 0)
  if (open.length === 0) return undefined
  return {
    id: 'rp-filter-off',
    severity: 'error',
    finding: `The firewall bridges of guests answer ARP for the gateway: ${some(open)} have no reverse path filter.`,
    restsOn: rpFilterRead(facts, open[0] as string),
    fix: [sysctlCommand('net/ipv4/conf/all/rp_filter', 2)],
    why: 'Packets of these guests go to the firewall bridge instead of the node’s, and are neither routed nor translated as they should be.',
  }
}

export const rpFilterStrict: Check = ({ facts, view }) => {
  const external = view.network.external.filter(({ families }) => families.includes(4))
  return external.length < 2 ? undefined : external.flatMap(({ name }) => strictFilter(facts, name) ?? [])
}

export function strictFilter(facts: NodeFacts, name: string): Finding | undefined {
  if (rpFilter(facts, name) !== 1) return undefined
  return {
    id: 'rp-filter-strict',
    severity: 'error',
    finding: `Strict reverse path filtering on ${name} drops clients whose route leads by another interface.`,
    restsOn: rpFilterRead(facts, name),
    fix: [sysctlCommand(`net/ipv4/conf/${name}/rp_filter`, 2)],
    why: `Forwards at the addresses of ${name} work for some clients only.`,
  }
}

export const uplinkTrouble: Check = ({ view }) =>
  uplinkTroubles(view).map((finding) => ({
    id: 'uplink',
    severity: 'warning',
    finding,
    restsOn: ['ip rule show', 'ip route show table all'],
    fix: [],
    why: 'Clients that call the address of one uplink get no answer by another one. Other numbers are set by uplink-mark and uplink-table.',
  }))

export const marksOverwritten: Check = ({ facts, view, ruleset }) =>
  FAMILIES.filter((family) => ruleset.chains[family].some(({ name }) => name === 'PVENAT-UPLINK'))
    .flatMap((family) => markSetters(facts, family, view))
    .map((setter) => marksTaken(view, setter))

export function marksTaken({ settings }: View, { chain, place, proto, isBehind }: MarkSetter): Finding {
  const takes = isBehind ? 'takes' : 'may take'
  return {
    id: 'uplink',
    severity: 'warning',
    finding: `A rule that is not pvenat's ${takes} the marks of ${proto?.toUpperCase() ?? 'all'} packets away.`,
    restsOn: [place],
    fix: isBehind || chain.program !== undefined ? [] : [loadedFirst(chain)],
    why: [
      'An answer without its mark leaves by the default route, and a client of another uplink gets none.',
      isBehind
        ? `Let the rule keep the bits ${hex(settings.uplinkMark.mask)} of the mark.`
        : 'Of two chains with one priority the kernel runs the newer one first, and it does not tell which that is.',
    ].join(' '),
  }
}

/** Loads a table of nft anew, in one step, with its chain just before the priority of pvenat's. */
function loadedFirst({ family, table, priority }: NftChain): string {
  const earlier = `s/prerouting priority ${priority};/prerouting priority ${priority - 1};/`
  return `{ echo ${quoted(`delete table ${family} ${table}`)}; nft -y list table ${family} ${quoted(table)} | sed '${earlier}'; } | nft -f -`
}

export const bridgesUnfiltered: Check = (patient) =>
  firewallBridges(patient).length === 0 ? undefined : bridgedUnmet(patient.facts, 4)

/** Bridged packets of a family do not meet iptables. */
export function bridgedUnmet({ sysctls }: NodeFacts, family: Family): Finding | undefined {
  const path = bridgeNetfilter(family)
  const value = sysctls.get(path)
  if (value === '1') return undefined
  return {
    id: 'bridge-nf-off',
    severity: 'warning',
    finding: 'Bridged packets do not meet iptables, so the firewall rules of guests are not in force.',
    restsOn: [value === undefined ? 'the module br_netfilter is not loaded' : `${dotted(path)} = ${value}`],
    fix: [
      ...(value === undefined ? ['modprobe br_netfilter'] : []),
      ...FAMILIES.map((one) => sysctlCommand(bridgeNetfilter(one), 1)),
    ],
    why: 'Whatever you forward is let into the guest; pve-firewall sets this every ten seconds while it runs, so see: systemctl status pve-firewall.',
  }
}

const FULL = 0.9
const CONNTRACK_COUNT = 'net/netfilter/nf_conntrack_count'
const CONNTRACK_MAX = 'net/netfilter/nf_conntrack_max'

export const conntrackFull: Check = ({ facts: { sysctls }, view }) => {
  const count = Number(sysctls.get(CONNTRACK_COUNT))
  const max = Number(sysctls.get(CONNTRACK_MAX))
  if (!(count >= max * FULL)) return undefined
  return {
    id: 'conntrack-full',
    severity: 'error',
    finding: `The table of connections is nearly full: ${count} of ${max}.`,
    restsOn: [`${dotted(CONNTRACK_COUNT)} = ${count}`, `${dotted(CONNTRACK_MAX)} = ${max}`],
    fix: [
      sysctlCommand(CONNTRACK_MAX, max * 2),
      `pvesh set /nodes/${view.node}/firewall/options --nf_conntrack_max ${max * 2}`,
    ],
    why: 'New connections are dropped while it is full.',
  }
}

export const modulesMissing: Check = (patient) => {
  if (wantedFamilies(patient).length === 0 || patient.facts.sysctls.has(CONNTRACK_MAX)) return undefined
  return {
    id: 'conntrack-missing',
    severity: 'error',
    finding: 'The kernel does not track connections: nf_conntrack is not loaded.',
    restsOn: [`/proc/sys/${CONNTRACK_MAX} is missing`],
    fix: ['modprobe nf_conntrack'],
    why: 'NAT rests on it.',
  }
}

const MAX_NAMED = 3

/** The first few of a list, and how many more there are. */
function some(names: readonly string[]): string {
  const more = names.length - MAX_NAMED
  return names.slice(0, MAX_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '')
}
