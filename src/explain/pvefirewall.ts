/**
 * What pve-firewall makes of a new packet: a guest's rules, or the node's, in the order in which it compiles them (pve-firewall
 * Firewall.pm), first match wins. `unknown` when a rule on the way says what pvenat cannot read.
 */
import { contains, formatRange as show, sameRange, type Range } from '../address.ts'
import { fileName, placeName, type Code } from '../diagnostic.ts'
import { guestApi, quoted } from '../facts/fixes.ts'
import type { FwFile, FwRule } from '../fw/fw-file.ts'
import type { Nic, OwnedGuest } from '../guest/guest.ts'
import { namesOf, resolveAddresses, type NameScope } from '../nat/match.ts'
import type { Match } from '../nat/nat-rule.ts'
import { holds, sourcesMeet } from '../nat/sources.ts'
import { templates, type Template } from '../nat/template.ts'
import { CLUSTER_FW, guestFw, hostFw, type View } from '../nat/view.ts'
import { isOn } from '../nat/marked.ts'
import { inPorts, type Packet } from './packet.ts'
import type { Fix } from './step.ts'

interface Judgement {
  verdict: 'accept' | 'drop' | 'unknown'
  /** What decided: `rule IN ACCEPT`, `policy_in is DROP`. */
  by: string
  /** `107.fw:9`. */
  restsOn: string
  /** Of a `drop`. */
  fix?: Fix
}

type Direction = 'in' | 'out'

interface Placed {
  rule: FwRule
  file: string
  /** NIC or interface that the rule, or the GROUP rule that pulls it in, is for. */
  iface: string | undefined
  names: NameScope
}

/** Why a guest's firewall does not concern a NIC; undefined when it does. */
export function guestFirewallOff(view: View, { guest, fw }: OwnedGuest): string | undefined {
  if (!isOn(view.cluster.options['enable'], 0, view.now)) return 'the datacenter firewall is off'
  return isOn(fw.options['enable'], 0, view.now) ? undefined : `the firewall of guest ${guest.vmid} is off`
}

/** A guest's firewall at one NIC. Addresses and ports are the inner ones, as the packet has them there. */
export function judgeGuest(
  view: View,
  owned: OwnedGuest,
  nic: Nic,
  direction: Direction,
  packet: Packet,
): Judgement {
  const { guest, fw } = owned
  const file = guestFw(guest.vmid)
  const own = namesOf(view, fw, guest.vmid)
  if (direction === 'in' && isBlacklisted(view, packet)) return blacklisted(packet)
  const filter = `ipfilter-net${nic.index}`
  const api = guestApi(view, guest)
  if (direction === 'out' && !maySend(owned, nic, filter, own, packet))
    return {
      verdict: 'drop',
      by: `ipset ${filter} does not hold the source`,
      restsOn: fileName(file),
      fix: admit(`${api}/ipset`, filter, fw.ipset.has(filter), packet.source),
    }
  const key = direction === 'in' ? 'policy_in' : 'policy_out'
  const judged =
    firstMatch(view, placed(view, fw, file, own), direction, `net${nic.index}`, packet) ??
    policy(key, fw.options[key] ?? (direction === 'in' ? 'DROP' : 'ACCEPT'), fileName(file))
  const { proto, dport } = packet
  const port = dport === undefined ? '' : `, port ${dport}`
  return withRule(judged, api, direction, packet, {
    instead: `guest ${guest.vmid} > Firewall > Add: direction ${direction}, action ACCEPT, protocol ${proto}${port}`,
  })
}

/** Ports of the node that pve-firewall opens to its ipset `management` by itself. */
const MANAGEMENT: readonly (readonly [number, number])[] = [
  [22, 22],
  [3128, 3128],
  [5900, 5999],
  [8006, 8006],
  [60000, 60050],
]

/** The node's own firewall, for what ends at the node. Undefined when it is off. */
export function judgeNode(view: View, iface: string, packet: Packet): Judgement | undefined {
  const { cluster, host, node } = view
  if (!isOn(cluster.options['enable'], 0, view.now) || !isOn(host.options['enable'], 1, view.now))
    return undefined
  const names = namesOf(view)
  if (isBlacklisted(view, packet)) return blacklisted(packet)
  const rules = [...placed(view, host, hostFw(node), names), ...placed(view, cluster, CLUSTER_FW, names)]
  const judged =
    firstMatch(view, rules, 'in', iface, packet) ??
    judgeManagement(names, packet) ??
    policy('policy_in', cluster.options['policy_in'] ?? 'DROP', fileName(CLUSTER_FW))
  return withRule(judged, `/nodes/${quoted(node)}/firewall`, 'in', packet)
}

function judgeManagement(names: NameScope, { proto, dport, source }: Packet): Judgement | undefined {
  if (proto !== 'tcp' || dport === undefined || !MANAGEMENT.some((range) => inPorts(range, dport)))
    return undefined
  if (setVerdict('+dc/management', names, source) === true)
    return { verdict: 'accept', by: 'ipset management of the datacenter', restsOn: fileName(CLUSTER_FW) }
  return {
    verdict: 'unknown',
    by: 'pve-firewall opens this port to the network of the node by itself, and which that is follows from the name of the node',
    restsOn: 'pve-firewall localnet',
  }
}

/** With a rule that would let it through: the GUI puts new ones above all others. */
function withRule(
  judged: Judgement,
  api: string,
  direction: Direction,
  { proto, dport, source, destination }: Packet,
  more: Pick<Fix, 'instead'> = {},
): Judgement {
  if (judged.verdict !== 'drop') return judged
  const ports = dport === undefined ? '' : ` --dport ${dport}`
  const end = direction === 'in' ? `--source ${show(source)}` : `--dest ${show(destination)}`
  const command = `pvesh create ${api}/rules --type ${direction} --action ACCEPT --proto ${proto}${ports} ${end} --enable 1`
  return { ...judged, fix: { commands: [command], ...more } }
}

function isBlacklisted(view: View, { source }: Packet): boolean {
  return setVerdict('+dc/blacklist', namesOf(view), source) === true
}

function blacklisted({ source }: Packet): Judgement {
  const set = 'ipset blacklist of the datacenter'
  const fix: Fix = { commands: [], instead: `take ${show(source)} out of the ${set}` }
  return { verdict: 'drop', by: set, restsOn: fileName(CLUSTER_FW), fix }
}

/**
 * Whether the filter of source addresses lets a NIC send. With the option `ipfilter` every NIC has such a set, and
 * pve-firewall puts the addresses that a container's config names into it (Firewall.pm, compile_ipsets).
 */
function maySend(
  { guest, fw }: OwnedGuest,
  nic: Nic,
  filter: string,
  names: NameScope,
  { family, source }: Packet,
): boolean {
  const configured = guest.type === 'lxc' ? nic.addresses[family]?.ip : undefined
  if (configured && sameRange(configured, source)) return true
  return fw.ipset.has(filter)
    ? setVerdict(`+guest/${filter}`, names, source) !== false
    : fw.options['ipfilter'] !== 1
}

/** Puts an address into a set of a guest, which is made if it is not there. */
function admit(api: string, set: string, isThere: boolean, address: Range): Fix {
  const make = isThere ? [] : [`pvesh create ${api} --name ${set}`]
  return { commands: [...make, `pvesh create ${api}/${set} --cidr ${show(address)}`] }
}

/** Whether a set that may not exist holds the address; undefined when there is none. */
function setVerdict(name: string, names: NameScope, source: Range): boolean | undefined {
  const found = resolveAddresses(name, names, { file: '', span: { line: 0, from: 0, to: 0 } })
  if ('code' in found) return found.code === 'set-empty' ? false : undefined
  const match = found[source.family]
  return match !== undefined && holds(match, source)
}

/** The rules of a file in order, groups unfolded where they are pulled in. */
function placed(view: View, fw: FwFile, file: string, names: NameScope): Placed[] {
  return fw.rules.flatMap((rule): Placed[] => {
    if (!rule.enable || rule.errors) return []
    if (rule.type !== 'group') return [{ rule, file, iface: rule.iface, names }]
    const group = view.cluster.groups.get(rule.action)
    const shared = namesOf(view)
    return (group?.rules ?? [])
      .filter((one) => one.enable && !one.errors)
      .map((one) => ({ rule: one, file: CLUSTER_FW, iface: rule.iface, names: shared }))
  })
}

function firstMatch(
  view: View,
  rules: readonly Placed[],
  direction: Direction,
  iface: string,
  packet: Packet,
): Judgement | undefined {
  for (const one of rules) {
    if (one.rule.type !== direction || (one.iface !== undefined && one.iface !== iface)) continue
    const is = concerns(one, packet, view)
    if (is === 'no') continue
    const restsOn = placeName({ file: one.file, span: one.rule.span })
    const { action, macro } = one.rule
    const by = `rule ${direction.toUpperCase()} ${macro === undefined ? action : `${macro}(${action})`}`
    if (is === 'unknown')
      return { verdict: 'unknown', by: `${by}, whose addresses pvenat cannot read`, restsOn }
    return { verdict: action === 'ACCEPT' ? 'accept' : 'drop', by, restsOn }
  }
  return undefined
}

/** Addresses that pve-firewall takes and pvenat does not. */
const UNREAD: readonly Code[] = ['address-unsupported', 'unsupported']

function concerns({ rule, file, names }: Placed, packet: Packet, view: View): 'yes' | 'no' | 'unknown' {
  if (!templates(rule, packet.family, view.services).some((one) => fits(one, packet))) return 'no'
  const place = { file, span: rule.span }
  let isKnown = true
  for (const [text, address] of [
    [rule.source, packet.source],
    [rule.dest, packet.destination],
  ] as const) {
    const found = resolveAddresses(text, names, place)
    if (!('code' in found)) {
      const match = found[packet.family]
      if (!match || !holds(match, address)) return 'no'
    } else if (UNREAD.includes(found.code)) isKnown = false
    // A name that leads nowhere: pve-firewall leaves the rule out.
    else return 'no'
  }
  return isKnown ? 'yes' : 'unknown'
}

function fits({ proto, dports, sports, icmpType }: Template, packet: Packet): boolean {
  if (proto !== '' && proto !== packet.proto) return false
  if (icmpType !== undefined && !['any', 'echo-request'].includes(icmpType)) return false
  // pve-firewall leaves the condition out for port 0.
  const open = (ports: Template['dports']): boolean => ports.length === 0 || ports.some(([lo]) => lo === 0)
  const inside = (ports: Template['dports'], port: number | undefined): boolean =>
    open(ports) || ports.some((range) => inPorts(range, port))
  return inside(dports, packet.dport) && inside(sports, packet.sport)
}

function policy(key: string, value: string | number, restsOn: string): Judgement {
  const by = `no rule is for it, and ${key} is ${value}`
  return { verdict: value === 'ACCEPT' ? 'accept' : 'drop', by, restsOn }
}

/** Clients, and the inner address and port that they are to reach; undefined: any. */
interface Asked {
  family: Packet['family']
  proto: string
  clients: Match
  destination?: Range
  dport?: number | undefined
}

interface Refusal {
  /** `no rule is for it, and policy_in is DROP`. */
  by: string
  /** `107.fw:9`. */
  restsOn: string
  /** The line that lets them in. */
  command: string
}

/** Why a guest's firewall lets none of the clients in; undefined when it lets some in, or when that cannot be told. */
export function keptOut(view: View, owned: OwnedGuest, nic: Nic, asked: Asked): Refusal | undefined {
  const { guest, fw } = owned
  if (!nic.firewall || guestFirewallOff(view, owned) !== undefined) return undefined
  const own = namesOf(view, fw, guest.vmid)
  const file = guestFw(guest.vmid)
  const rules = placed(view, fw, file, own).filter(
    ({ iface }) => iface === undefined || iface === `net${nic.index}`,
  )
  const last = { by: fw.options['policy_in'] ?? 'DROP', key: 'policy_in', file }
  return refusesAll(view, rules, 'in', asked, last, guestApi(view, guest))
}

/** Why the nftables firewall forwards nothing of it: FORWARD rules of host.fw, then of cluster.fw, then policy_forward. */
export function notForwarded(view: View, asked: Asked): Refusal | undefined {
  const { cluster, host, node, firewall } = view
  if (firewall !== 'nftables' || !isOn(cluster.options['enable'], 0, view.now)) return undefined
  if (!isOn(host.options['enable'], 1, view.now)) return undefined
  const names = namesOf(view)
  const rules = [...placed(view, host, hostFw(node), names), ...placed(view, cluster, CLUSTER_FW, names)]
  const last = { by: cluster.options['policy_forward'] ?? 'ACCEPT', key: 'policy_forward', file: CLUSTER_FW }
  return refusesAll(view, rules, 'forward', asked, last, '/cluster/firewall')
}

function refusesAll(
  view: View,
  rules: readonly Placed[],
  type: 'in' | 'forward',
  asked: Asked,
  last: { by: string | number; key: string; file: string },
  api: string,
): Refusal | undefined {
  const { family, proto, clients, destination, dport } = asked
  const { ranges } = clients
  const isNamed = ranges !== 'any' && ranges.length <= MAX_NAMED
  const command = [
    `pvesh create ${api}/rules --type ${type} --action ACCEPT`,
    ...(isNamed ? [`--source ${ranges.map(show).join(',')}`] : []),
    ...(destination ? [`--dest ${show(destination)}`] : []),
    ...(proto === 'all' ? [] : [`--proto ${proto}`]),
    ...(dport === undefined ? [] : [`--dport ${dport}`]),
    '--enable 1',
  ].join(' ')
  const refusal = (by: string, restsOn: string): Refusal => ({ by, restsOn, command })
  for (const { rule, file, iface, names } of rules) {
    if (rule.type !== type) continue
    const isFor = templates(rule, family, view.services).some((one) =>
      fits(one, { family, proto, dport, source: NOBODY, destination: NOBODY }),
    )
    if (!isFor && proto !== 'all') continue
    const place = { file, span: rule.span }
    const [source, to] = [rule.source, rule.dest].map((text) => resolveAddresses(text, names, place))
    if (!source || !to) continue
    if ('code' in source || 'code' in to) {
      if ([source, to].some((one) => 'code' in one && UNREAD.includes(one.code))) return undefined
      continue
    }
    const [from, at] = [source[family], to[family]]
    if (!from || !at || !sourcesMeet(from, clients)) continue
    if (destination && !holds(at, destination)) continue
    if (!destination && isInside(view, at)) continue
    if (rule.action === 'ACCEPT') return undefined
    const isOfAll =
      from.ranges === 'any' || (ranges !== 'any' && ranges.length === 1 && ranges[0]?.lo === ranges[0]?.hi)
    const isWhole = isOfAll && (destination ?? at.ranges === 'any') && isFor
    if (isWhole && (iface === undefined || type === 'in'))
      return refusal(`rule ${type.toUpperCase()} ${rule.action}`, placeName(place))
  }
  if (last.by === 'ACCEPT') return undefined
  return refusal(`no rule is for it, and ${last.key} is ${last.by}`, fileName(last.file))
}

/** What leads to networks of this node is no way out. */
function isInside({ network }: View, { ranges }: Match): boolean {
  return (
    ranges !== 'any' && ranges.every((range) => network.internal.some((one) => contains(one.network, range)))
  )
}

const MAX_NAMED = 8
const NOBODY: Range = { family: 4, lo: 0n, hi: 0n }
