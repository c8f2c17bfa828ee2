/**
 * Walks one new packet through chains of the ruleset, rule by rule, as the kernel would: explain reads the very rules that are
 * loaded, not the NAT rules a second time, and so cannot disagree with them.
 */
import { contains, formatRange } from '../address.ts'
import { isInterface } from '../facts/foreign.ts'
import type { KernelSet } from '../nat/nat-rule.ts'
import { holds } from '../nat/sources.ts'
import { HOOKS, type Chain, type Hook, type Root, type Rule, type Ruleset } from '../ruleset/ruleset.ts'
import { inPorts, type Packet } from './packet.ts'

/** A packet on one pass through the node. */
export interface Flow extends Packet {
  /** The interface by which it comes; undefined for the node's own. */
  in: string | undefined
  out?: string
  /** As the table mangle set it. */
  mark?: number
  /** In and out by ports of the same bridge. */
  bridged: boolean
  /** On the firewall bridge of a guest: into the guest, or out of it. */
  fwbr?: 'in' | 'out'
  /** Its destination was translated in this pass. */
  dnat: boolean
  /** The rule of others that keeps it from connection tracking. */
  untracked?: string | undefined
  /** As the client sent it. */
  original: Pick<Packet, 'destination' | 'dport'>
}

/** The beginning of a pass: nothing has been translated. */
export function enterBy(packet: Packet, dev: string | undefined): Flow {
  const { destination, dport } = packet
  return { ...packet, in: dev, bridged: false, dnat: false, original: { destination, dport } }
}

/** A rule that decided. */
export interface Hit {
  chain: Chain
  /** Of the rule in its chain, from 0. */
  index: number
  rule: Rule
}

/** `nat PVENAT-DNAT rule 3`. */
export function ruleName({ chain, index }: Hit): string {
  return `${chain.table} ${chain.name} rule ${index + 1}`
}

export interface Walked {
  /** Where it began. */
  hook: Hook
  /** Undefined: no rule of ours decided, and the packet goes on. */
  hit?: Hit
  /** The rule that sent it back without a verdict. */
  returned?: Hit
  /** Every chain that was looked at, and the last rule of it that was. */
  visited: { chain: Chain; last: number }[]
}

/** Walks a chain and those that it leads to. A chain that does not exist decides nothing. */
export function walk(ruleset: Ruleset, root: Root, flow: Flow): Walked {
  const hook = HOOKS.find(({ to }) => to === root) as Hook
  const ofTable = ruleset.chains[flow.family].filter(({ table }) => table === hook.table)
  const walked: Walked = { hook, visited: [] }
  const end = walkChain(new Map(ofTable.map((chain) => [chain.name, chain])), root, flow, walked)
  if (end) walked[end.rule.target.kind === 'return' ? 'returned' : 'hit'] = end
  return walked
}

/** The mark that a packet has behind mangle PREROUTING; 0 when no rule of ours sets one. The last rule holds. */
export function markOf(ruleset: Ruleset, flow: Flow): number {
  const chains = ruleset.chains[flow.family].filter(({ table }) => table === 'mangle')
  const visit = (name: string, before: number): number => {
    const rules = chains.find((chain) => chain.name === name)?.rules ?? []
    return rules.reduce((mark, rule) => {
      if (!matches(rule, flow)) return mark
      if (rule.target.kind === 'jump') return visit(rule.target.chain, mark)
      return rule.target.kind === 'mark' ? rule.target.mark : mark
    }, before)
  }
  return visit('PVENAT-UPLINK', 0)
}

/** The rule that ends the walk: one with a verdict, or the `return` that left this chain. */
function walkChain(
  chains: ReadonlyMap<string, Chain>,
  name: string,
  flow: Flow,
  walked: Walked,
): Hit | undefined {
  const chain = chains.get(name)
  if (!chain) return undefined
  for (const [index, rule] of chain.rules.entries()) {
    if (!matches(rule, flow)) continue
    const { target } = rule
    if (target.kind === 'jump') {
      const end = walkChain(chains, target.chain, flow, walked)
      if (end && end.rule.target.kind !== 'return') {
        walked.visited.push({ chain, last: index })
        return end
      }
      if (end) walked.returned = end
      continue
    }
    walked.visited.push({ chain, last: index })
    // What a goto leads to returns to where this chain was jumped from.
    if (target.kind === 'goto') return walkChain(chains, target.chain, flow, walked)
    return { chain, index, rule }
  }
  walked.visited.push({ chain, last: chain.rules.length - 1 })
  return undefined
}

/** Whether all conditions of a rule hold. Every one is named, so that a new one cannot be passed over. */
function matches(rule: Rule, flow: Flow): boolean {
  const conditions: { [K in keyof Required<Rule>]: () => boolean } = {
    in: () => isInterface(rule.in, flow.in),
    out: () => isInterface(rule.out, flow.out),
    notIn: () => flow.in !== rule.notIn,
    notOut: () => flow.out !== rule.notOut,
    source: () => !rule.source || holds(rule.source, flow.source),
    destination: () => !rule.destination || holds(rule.destination, flow.destination),
    pair: () => inPairs(rule.pair, rule.sides, flow),
    sides: () => true,
    proto: () => rule.proto === flow.proto,
    ports: () => !!rule.ports && flow.dport !== undefined && inPorts(rule.ports, flow.dport),
    sport: () => !!rule.sport && inPorts(rule.sport, flow.sport),
    // An icmp packet that is asked about is a ping.
    icmpType: () => ['any', 'echo-request'].includes(rule.icmpType ?? ''),
    syn: () => flow.proto === 'tcp',
    state: () => inState(rule.state, flow),
    // It opens a connection.
    direction: () => rule.direction === 'ORIGINAL',
    originalPorts: () =>
      !!rule.originalPorts &&
      flow.original.dport !== undefined &&
      inPorts(rule.originalPorts, flow.original.dport),
    originalDestination: () =>
      !!rule.originalDestination && contains(rule.originalDestination, flow.original.destination),
    // Services stand as ports in the rules behind it, and nobody asks about sockets of clients.
    socket: () => false,
    // The connection has not been translated yet.
    replyDestination: () => false,
    notMarked: () => ((flow.mark ?? 0) & (rule.notMarked?.mask ?? 0)) !== rule.notMarked?.mark,
    routed: () => !flow.bridged,
    bridged: () => rule.bridged === flow.fwbr,
    target: () => true,
    serves: () => true,
  }
  return (Object.keys(rule) as (keyof Rule)[]).every((key) => conditions[key]())
}

function inPairs(set: KernelSet | undefined, sides: Rule['sides'], flow: Flow): boolean {
  const [address, port] =
    sides === 'src,src'
      ? [flow.source, flow.sport]
      : [sides === 'dst,dst' ? flow.destination : flow.source, flow.dport]
  if (!set || port === undefined) return false
  return set.entries.includes(`${formatRange(address)},${flow.proto}:${port}`)
}

function inState(state: Rule['state'], { dnat }: Flow): boolean {
  switch (state) {
    case undefined:
    case 'NEW':
      return true
    case 'ESTABLISHED':
    case 'SNAT':
    case '!NEW':
      return false
    case 'DNAT':
      return dnat
    case '!DNAT':
      return !dnat
  }
}
