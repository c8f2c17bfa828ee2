/**
 * Walks one packet through a rendered ruleset as the kernel would: raw, nat and filter hooks on every pass through the node (the
 * guest's firewall bridge, the routing, the loop), with a conntrack entry per zone and addresses, for nat is asked only once for each.
 */
import type { Match } from '../../src/nat/nat-rule.ts'
import type { Chain, Rule, Ruleset, Table, Target } from '../../src/ruleset/ruleset.ts'
import { addressText, span, within, type Family } from './ip.ts'

export interface Packet {
  /** The interface by which it comes; undefined for the node's own. */
  in?: string
  source: string
  destination: string
  proto: 'tcp' | 'udp'
  sport: number
  dport: number
  state: 'NEW' | 'ESTABLISHED'
}

/** What becomes of a packet: where it arrives, as whose, or that it is stopped. */
export interface Fate {
  to: string
  port: number
  seenAs: string
  /** `lost`: no bridge sends a frame out by the port that it came in by. */
  verdict: 'pass' | 'drop' | 'reject' | 'lost'
  /** Let through by a rule of ours on the guest's firewall bridge, where pve-firewall might drop it. */
  accepted: boolean
}

/** The node around the rules. */
interface Surroundings {
  /** The interface by which packets to an address leave; `local` for the node's own. */
  route(address: string): string
  /** What masquerading on an interface makes the source. */
  nodeAddress(name: string, family: Family): string
  /** The firewall bridge of the guest that has an address. */
  firewallBridge(address: string): string | undefined
  /** Families in which the policy of FORWARD is DROP; none when not told. */
  drops?: ReadonlySet<Family>
}

/** A packet on one pass. */
interface Flow extends Packet {
  family: Family
  out?: string
  /** In and out by the same bridge; br_netfilter bridges what is translated to a neighbour, too. */
  bridged: boolean
  translated: boolean
  /** As the conntrack entry saw it first. */
  original: { destination: string; dport: number }
}

type Natted = Pick<Packet, 'source' | 'destination' | 'sport' | 'dport'>

const LOOP = { out: 'pvenat0', in: 'pvenat1' }

export function trace(ruleset: Ruleset, packet: Packet, node: Surroundings): Fate {
  const { family } = span(packet.destination)
  const walker = new Walker(ruleset, family, node)
  let now = packet
  const from = node.firewallBridge(packet.source)
  if (from !== undefined && packet.in !== undefined)
    now = { ...walker.bridge(now, from).packet, in: packet.in }
  for (let passes = 0; passes < 3; passes++) {
    const { packet: after, verdict, out } = walker.route(now)
    now = after
    if (verdict !== 'pass' || out === 'local') return fate(now, verdict, false)
    if (now.destination === packet.source && out === packet.in && passes === 0)
      return fate(now, 'lost', false)
    if (out !== LOOP.out) break
    now = { ...now, in: LOOP.in }
  }
  const to = node.firewallBridge(now.destination)
  if (to === undefined) return fate(now, 'pass', false)
  const { packet: arrived, verdict, accepted } = walker.bridge(now, to)
  return fate(arrived, verdict, accepted)
}

function fate({ destination, dport, source }: Packet, verdict: Fate['verdict'], accepted: boolean): Fate {
  return { to: destination, port: dport, seenAs: source, verdict, accepted }
}

class Walker {
  private readonly chains: Map<string, readonly Rule[]>
  private readonly sets: Map<string, readonly string[]>
  /** Conntrack: which entries there are, by zone and addresses. */
  private readonly entries = new Set<string>()

  constructor(
    ruleset: Ruleset,
    private readonly family: Family,
    private readonly node: Surroundings,
  ) {
    this.chains = new Map(
      ruleset.chains[family].map((chain: Chain) => [`${chain.table} ${chain.name}`, chain.rules]),
    )
    this.sets = new Map(ruleset.sets.map(({ name, entries }) => [name, entries]))
  }

  /** Over a guest's firewall bridge: the same tables, both interfaces the bridge's. */
  bridge(packet: Packet, name: string): ReturnType<Walker['pass']> {
    return this.pass({ ...packet, in: name }, () => name)
  }

  route(packet: Packet): ReturnType<Walker['pass']> {
    return this.pass(packet, (address) => this.node.route(address))
  }

  private pass(packet: Packet, route: (address: string) => string) {
    const { destination, dport } = packet
    let flow: Flow = {
      ...packet,
      family: this.family,
      bridged: false,
      translated: false,
      original: { destination, dport },
    }
    const isNew = this.track(flow)
    const first = isNew ? this.walk('nat', flow.in === undefined ? 'OUTPUT' : 'PREROUTING', flow) : undefined
    if (first?.kind === 'netmap')
      flow = { ...flow, destination: mapped(first.to, flow.destination), translated: true }
    if (first?.kind === 'dnat') flow = { ...flow, ...destined(first, flow), translated: true }
    const out = route(flow.destination)
    if (out === 'local')
      return { packet: strip(packet, flow), out, verdict: 'pass' as const, accepted: false }
    flow = { ...flow, out, bridged: flow.in === out }
    const filtered = flow.in === undefined ? undefined : this.walk('filter', 'FORWARD', flow)
    const stopped = filtered ?? this.policy(flow)
    const verdict: Fate['verdict'] =
      stopped?.kind === 'drop' || stopped?.kind === 'reject' ? stopped.kind : 'pass'
    const accepted = filtered?.kind === 'accept'
    if (verdict !== 'pass') return { packet: strip(packet, flow), out, verdict, accepted }
    const last = isNew ? this.walk('nat', 'POSTROUTING', flow) : undefined
    if (last?.kind === 'snat') flow = { ...flow, source: addressText(this.family, last.to.lo) }
    if (last?.kind === 'netmap') flow = { ...flow, source: mapped(last.to, flow.source) }
    if (last?.kind === 'masquerade') flow = { ...flow, source: this.node.nodeAddress(out, this.family) }
    return { packet: strip(packet, flow), out, verdict, accepted }
  }

  /** Whether the packet opens a connection in its zone: nat is asked for such ones only. */
  private track(flow: Flow): boolean {
    let zone = 0
    const rules = flow.in === undefined ? [] : (this.chains.get('raw PVENAT-ZONE') ?? [])
    for (const rule of rules) {
      if (rule.target.kind === 'zone' && this.matches(rule, flow)) zone = rule.target.zone
    }
    const { source, sport, destination, dport } = flow
    const key = [zone, source, sport, destination, dport].join(' ')
    if (flow.state !== 'NEW' || this.entries.has(key)) return false
    this.entries.add(key)
    return true
  }

  /** Of FORWARD, for what our first chain there lets go on. */
  private policy(flow: Flow): Target | undefined {
    if (flow.in === undefined || !this.node.drops?.has(this.family)) return undefined
    return this.walk('filter', 'PASS', flow)?.kind === 'accept' ? undefined : { kind: 'drop' }
  }

  /** The verdict of our chain at a hook; undefined: the packet goes on. */
  private walk(table: Table, hook: string, flow: Flow): Target | undefined {
    return this.chain(table, `PVENAT-${hook}`, flow)
  }

  private chain(table: Table, name: string, flow: Flow): Target | undefined {
    for (const rule of this.chains.get(`${table} ${name}`) ?? []) {
      if (!this.matches(rule, flow)) continue
      const { target } = rule
      if (target.kind === 'return') return undefined
      if (target.kind === 'goto') return this.chain(table, target.chain, flow)
      if (target.kind !== 'jump') return target
      const verdict = this.chain(table, target.chain, flow)
      if (verdict) return verdict
    }
    return undefined
  }

  private matches(rule: Rule, flow: Flow): boolean {
    return Object.keys(rule).every((key) => this.condition(key as keyof Rule, rule, flow))
  }

  private condition(key: keyof Rule, rule: Rule, flow: Flow): boolean {
    switch (key) {
      case 'target':
      case 'serves':
        return true
      case 'in':
        return isInterface(rule.in, flow.in)
      case 'out':
        return isInterface(rule.out, flow.out)
      case 'notIn':
        return rule.notIn !== flow.in
      case 'notOut':
        return rule.notOut !== flow.out
      case 'syn':
        return flow.proto === 'tcp' && flow.state === 'NEW'
      case 'source':
        return this.inMatch(rule.source, flow.source)
      case 'destination':
        return this.inMatch(rule.destination, flow.destination)
      case 'pair':
        return this.entriesOf(rule.pair?.name).includes(pairOf(rule.sides, flow))
      case 'sides':
        return true
      case 'direction':
        // Answers are never walked.
        return rule.direction === 'ORIGINAL'
      case 'bridged':
        return flow.in?.startsWith('fwbr') === true && rule.bridged === this.wayOverBridge(flow)
      case 'proto':
        return rule.proto === flow.proto
      case 'ports':
        return inPorts(rule.ports, flow.dport)
      case 'sport':
        return inPorts(rule.sport, flow.sport)
      case 'icmpType':
        return false
      case 'state':
        return stateMatches(rule.state ?? '', flow)
      case 'originalPorts':
        return inPorts(rule.originalPorts, flow.original.dport)
      case 'originalDestination':
        return !!rule.originalDestination && within(rule.originalDestination, flow.original.destination)
      case 'routed':
        return !flow.bridged
      case 'socket':
        // No service listens on the node of the tracer.
        return false
      case 'notMarked':
      case 'replyDestination':
        // Its node has one uplink, so nothing is marked.
        return false
      default:
        throw new Error(`the tracer does not know the condition ${String(key)}`)
    }
  }

  private wayOverBridge(flow: Flow): Rule['bridged'] {
    return this.node.firewallBridge(flow.destination) === flow.in ? 'in' : 'out'
  }

  /** As it is rendered: by the set, else by the one range. */
  private inMatch(match: Match | undefined, address: string): boolean {
    if (!match || match.ranges === 'any') return true
    if (match.set) return inSet(this.entriesOf(match.set.name), address)
    const [only, ...more] = match.ranges
    if (!only || more.length > 0) throw new Error('a match without a set names one network or range')
    return within(only, address)
  }

  private entriesOf(name = ''): readonly string[] {
    const entries = this.sets.get(name)
    if (!entries) throw new Error(`the set ${name} is used and not in the ruleset`)
    return entries
  }
}

/** hash:net: of the networks around an address the longest decides. */
function inSet(entries: readonly string[], address: string): boolean {
  const around = entries
    .map((entry) => ({ entry, net: span(entry.replace(' nomatch', '')) }))
    .filter(({ net }) => within(net, address))
    .sort((a, b) => (a.net.hi - a.net.lo < b.net.hi - b.net.lo ? -1 : 1))
  return around[0] !== undefined && !around[0].entry.endsWith(' nomatch')
}

function isInterface(pattern = '', name = ''): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}

function pairOf(sides: Rule['sides'], { source, destination, proto, sport, dport }: Flow): string {
  if (sides === 'src,src') return `${source},${proto}:${sport}`
  return `${sides === 'dst,dst' ? destination : source},${proto}:${dport}`
}

function inPorts(ports: readonly [number, number] | undefined, port: number): boolean {
  return !!ports && ports[0] <= port && port <= ports[1]
}

function stateMatches(state: string, flow: Flow): boolean {
  const name = state.replace('!', '')
  const known: Record<string, boolean> = {
    NEW: flow.state === 'NEW',
    ESTABLISHED: flow.state === 'ESTABLISHED',
    DNAT: flow.translated,
    // The source is translated when a packet leaves, after every rule that asks.
    SNAT: false,
  }
  const holds = known[name]
  if (holds === undefined) throw new Error(`the tracer does not know the state ${state}`)
  return state.startsWith('!') ? !holds : holds
}

/** The shift is by the distance from the first external port. */
function destined(target: Extract<Target, { kind: 'dnat' }>, { dport, family }: Flow): Partial<Natted> {
  const { to, port = dport, shiftFrom } = target
  return { destination: addressText(family, to.lo), dport: shiftFrom ? port + dport - shiftFrom[0] : port }
}

/** The address at the same place in a network. */
function mapped({ family, lo, hi }: Extract<Target, { kind: 'netmap' }>['to'], address: string): string {
  return addressText(family, lo + (span(address).lo & (hi - lo)))
}

function strip(packet: Packet, { source, destination, sport, dport }: Flow): Packet {
  return { ...packet, source, destination, sport, dport }
}
