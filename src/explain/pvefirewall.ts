/**
 * What pve-firewall makes of a new packet: a guest's rules, or the node's, in the order in which it compiles them (pve-firewall
 * Firewall.pm), first match wins. `unknown` when a rule on the way says what pvenat cannot read.
 */
import { contains, formatRange as show, sameRange, type Range } from '../address.ts'
import { fileName, placeName, type Code } from '../diagnostic.ts'
import { guestApi, quoted } from '../facts/fixes.ts'
import type { FwFile, FwRule } from '../fw/fw-file.ts'
import type { OwnedGuest, Plugged } from '../guest/guest.ts'
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
export function judgeGuest(view: View, plugged: Plugged, direction: Direction, packet: Packet): Judgement {
  const { guest, fw, nic } = plugged
  const own = namesOf(view, fw, guest.vmid)
  if (direction === 'in' && isBlacklisted(view, packet)) return blacklisted(packet)
  const filter = `ipfilter-net${nic.index}`
  const api = guestApi(view, guest)
  if (direction === 'out' && !maySend(plugged, filter, own, packet))
    return {
      verdict: 'drop',
      by: `ipset ${filter} does not hold the source`,
      restsOn: fileName(guestFw(guest.vmid)),
      fix: admit(`${api}/ipset`, filter, fw.ipset.has(filter), packet.source),
    }
  const judged = byRules(view, plugged, direction, askedBy(packet))
  const { proto, dport } = packet
  const port = dport === undefined ? '' : `, port ${dport}`
  const instead = `guest ${guest.vmid} > Firewall > Add: direction ${direction}, action ACCEPT, protocol ${proto}${port}`
  return judged.fix ? { ...judged, fix: { ...judged.fix, instead } } : judged
}

/** The rules of a guest and the policy behind them, at one NIC. */
function byRules(view: View, { guest, fw, nic }: Plugged, direction: Direction, asked: Asked): Judgement {
  const file = guestFw(guest.vmid)
  const rules = placed(view, fw, file, namesOf(view, fw, guest.vmid))
  const key = direction === 'in' ? 'policy_in' : 'policy_out'
  const last = policy(key, fw.options[key] ?? (direction === 'in' ? 'DROP' : 'ACCEPT'), file)
  return judge(view, at(rules, `net${nic.index}`), direction, asked, last, guestApi(view, guest))
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
  const last =
    judgeManagement(names, packet) ?? policy('policy_in', cluster.options['policy_in'] ?? 'DROP', CLUSTER_FW)
  const api = `/nodes/${quoted(node)}/firewall`
  return judge(view, at(nodeRules(view), iface), 'in', askedBy(packet), last, api)
}

/** Of the node, then of the datacenter. */
function nodeRules(view: View): Placed[] {
  const names = namesOf(view)
  return [
    ...placed(view, view.host, hostFw(view.node), names),
    ...placed(view, view.cluster, CLUSTER_FW, names),
  ]
}

/** The rules for a NIC or an interface. */
function at(rules: readonly Placed[], iface: string): Placed[] {
  return rules.filter((one) => one.iface === undefined || one.iface === iface)
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
  { guest, fw, nic }: Plugged,
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

/**
 * What rules, and the policy behind them, do with all that is asked about, with a rule that would let it through: the GUI puts new ones above all
 * others. A rule for some of it decides only if it accepts. `last`: what holds where no rule decides.
 */
function judge(
  view: View,
  rules: readonly Placed[],
  type: Direction | 'forward',
  asked: Asked,
  last: Judgement,
  api: string,
): Judgement {
  const judged = firstMatch(view, rules, type, asked) ?? last
  return judged.verdict === 'drop' ? { ...judged, fix: { commands: [admitting(api, type, asked)] } } : judged
}

function admitting(api: string, type: string, { clients, destination, proto, dport }: Asked): string {
  const { ranges } = clients
  const isNamed = ranges !== 'any' && ranges.length <= MAX_NAMED
  return [
    `pvesh create ${api}/rules --type ${type} --action ACCEPT`,
    ...(isNamed ? [`--source ${ranges.map(show).join(',')}`] : []),
    ...(destination ? [`--dest ${show(destination)}`] : []),
    ...(proto === 'all' ? [] : [`--proto ${proto}`]),
    ...(dport === undefined ? [] : [`--dport ${dport}`]),
    '--enable 1',
  ].join(' ')
}

function firstMatch(
  view: View,
  rules: readonly Placed[],
  type: Direction | 'forward',
  asked: Asked,
): Judgement | undefined {
  for (const one of rules) {
    if (one.rule.type !== type) continue
    const meets = concerns(one, asked, view)
    if (meets === 'none') continue
    const restsOn = placeName({ file: one.file, span: one.rule.span })
    const { action, macro } = one.rule
    const by = `rule ${type.toUpperCase()} ${macro === undefined ? action : `${macro}(${action})`}`
    if (meets === 'unknown')
      return { verdict: 'unknown', by: `${by}, whose addresses pvenat cannot read`, restsOn }
    if (action === 'ACCEPT') return { verdict: 'accept', by, restsOn }
    if (meets === 'all') return { verdict: 'drop', by, restsOn }
  }
  return undefined
}

/** Addresses that pve-firewall takes and pvenat does not. */
const UNREAD: readonly Code[] = ['address-unsupported', 'unsupported']

/** How much of what is asked about a rule is for. */
function concerns(
  { rule, file, iface, names }: Placed,
  asked: Asked,
  view: View,
): 'all' | 'some' | 'none' | 'unknown' {
  const { family, proto, clients, destination } = asked
  const isFor = templates(rule, family, view.services).some((one) => fits(one, asked))
  if (!isFor && proto !== 'all') return 'none'
  const place = { file, span: rule.span }
  const read = (text: string | undefined): Match | 'none' | 'unknown' => {
    const found = resolveAddresses(text, names, place)
    // A name that leads nowhere: pve-firewall leaves the rule out.
    if ('code' in found) return UNREAD.includes(found.code) ? 'unknown' : 'none'
    return found[family] ?? 'none'
  }
  const [from, to] = [read(rule.source), read(rule.dest)]
  if (from === 'none' || (from !== 'unknown' && !sourcesMeet(from, clients))) return 'none'
  if (to === 'none' || (to !== 'unknown' && !isMeant(view, to, destination))) return 'none'
  if (from === 'unknown' || to === 'unknown') return 'unknown'
  const { ranges } = clients
  const isOfAll = from.ranges === 'any' || (ranges !== 'any' && ranges.length === 1 && isOne(ranges[0]))
  const isToAll = destination !== undefined || to.ranges === 'any'
  // Which interfaces a forwarded packet takes is not asked about.
  const isEverywhere = iface === undefined || rule.type !== 'forward'
  return isFor && isOfAll && isToAll && isEverywhere ? 'all' : 'some'
}

function isOne(range: Range | undefined): boolean {
  return range?.lo === range?.hi
}

/** Whether a rule is for the destination; where none is named, for any outside. */
function isMeant({ network }: View, to: Match, destination: Range | undefined): boolean {
  if (destination) return holds(to, destination)
  const isInside = (range: Range): boolean => network.internal.some((one) => contains(one.network, range))
  return to.ranges === 'any' || !to.ranges.every(isInside)
}

function fits({ proto, dports, sports, icmpType }: Template, asked: Asked): boolean {
  if (proto !== '' && proto !== asked.proto) return false
  if (icmpType !== undefined && !['any', 'echo-request'].includes(icmpType)) return false
  // pve-firewall leaves the condition out for port 0.
  const open = (ports: Template['dports']): boolean => ports.length === 0 || ports.some(([lo]) => lo === 0)
  const inside = (ports: Template['dports'], port: number | undefined): boolean =>
    open(ports) || ports.some((range) => inPorts(range, port))
  return inside(dports, asked.dport) && inside(sports, asked.sport)
}

function policy(key: string, value: string | number, file: string): Judgement {
  const by = `no rule is for it, and ${key} is ${value}`
  return { verdict: value === 'ACCEPT' ? 'accept' : 'drop', by, restsOn: fileName(file) }
}

/** Clients, and the inner address and port that they are to reach; undefined: any. */
interface Asked extends Pick<Packet, 'family' | 'proto' | 'sport' | 'dport'> {
  clients: Match
  destination?: Range | undefined
}

function askedBy({ source, ...packet }: Packet): Asked {
  return { ...packet, clients: { ranges: [source] } }
}

/** Why a guest's firewall lets nothing of it in or out; undefined when it lets some pass, or when that cannot be told. */
export function keptOut(
  view: View,
  plugged: Plugged,
  direction: Direction,
  asked: Asked,
): Refusal | undefined {
  if (!plugged.nic.firewall || guestFirewallOff(view, plugged) !== undefined) return undefined
  return refusal(byRules(view, plugged, direction, asked))
}

/** Why the nftables firewall forwards nothing of it: FORWARD rules of host.fw, then of cluster.fw, then policy_forward. */
export function notForwarded(view: View, asked: Asked): Refusal | undefined {
  const { cluster, host, firewall } = view
  if (firewall !== 'nftables' || !isOn(cluster.options['enable'], 0, view.now)) return undefined
  if (!isOn(host.options['enable'], 1, view.now)) return undefined
  const last = policy('policy_forward', cluster.options['policy_forward'] ?? 'ACCEPT', CLUSTER_FW)
  return refusal(judge(view, nodeRules(view), 'forward', asked, last, '/cluster/firewall'))
}

interface Refusal extends Pick<Judgement, 'by' | 'restsOn'> {
  /** The line that lets them in. */
  command: string
}

function refusal({ by, restsOn, fix }: Judgement): Refusal | undefined {
  const [command] = fix?.commands ?? []
  return command === undefined ? undefined : { by, restsOn, command }
}

const MAX_NAMED = 8
