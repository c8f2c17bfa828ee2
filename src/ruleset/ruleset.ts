/**
 * The ruleset: own chains, own sets, one hook per kernel chain. Every value in it was rebuilt by a parser; text that a user
 * typed cannot be expressed here.
 */
import type { Family, Range } from '../address.ts'
import type { KernelSet, Match } from '../nat/nat-rule.ts'
import type { PortRange } from '../ports.ts'

/**
 * In the order in which they are written: rules that let packets pass come before rules that send them, and translations before the marks
 * that lead packets to them. Nothing is put into `security`, but another version may have.
 */
export const TABLES = ['security', 'raw', 'filter', 'nat', 'mangle'] as const
export type Table = (typeof TABLES)[number]

export const KERNEL_CHAINS: readonly string[] = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']

/** Our chain at each hook. */
export type Root =
  | 'PVENAT-UPLINK'
  | 'PVENAT-NODE'
  | 'PVENAT-MSS'
  | 'PVENAT-ZONE'
  | 'PVENAT-FORWARD'
  | 'PVENAT-PASS'
  | 'PVENAT-PREROUTING'
  | 'PVENAT-OUTPUT'
  | 'PVENAT-POSTROUTING'

export interface Hook {
  table: Table
  from: string
  to: Root
  /** Stands at the end of the kernel chain, not first. */
  last?: true
}

/** The jump from each kernel chain to ours; the last one only while the policy of FORWARD is DROP. */
export const HOOKS: readonly Hook[] = [
  { table: 'mangle', from: 'PREROUTING', to: 'PVENAT-UPLINK' },
  { table: 'mangle', from: 'OUTPUT', to: 'PVENAT-NODE' },
  { table: 'mangle', from: 'FORWARD', to: 'PVENAT-MSS' },
  { table: 'raw', from: 'PREROUTING', to: 'PVENAT-ZONE' },
  { table: 'filter', from: 'FORWARD', to: 'PVENAT-FORWARD' },
  { table: 'filter', from: 'FORWARD', to: 'PVENAT-PASS', last: true },
  { table: 'nat', from: 'PREROUTING', to: 'PVENAT-PREROUTING' },
  { table: 'nat', from: 'OUTPUT', to: 'PVENAT-OUTPUT' },
  { table: 'nat', from: 'POSTROUTING', to: 'PVENAT-POSTROUTING' },
]

export const OWN_CHAIN = /^PVENAT-/
export const OWN_SET = /^pvenat-/

export type Target =
  | { kind: 'jump' | 'goto'; chain: string }
  | { kind: 'return' | 'accept' | 'drop' | 'reject' | 'masquerade' }
  /** Keeps its source; no later rule of either backend translates it. */
  | { kind: 'exempt' }
  /** The same place in a network: of the destination, in POSTROUTING of the source. */
  | { kind: 'netmap'; to: Range }
  | { kind: 'helper'; helper: string }
  /** The bits of a packet's mark that stand in the mask. */
  | { kind: 'mark'; mark: number; mask: number }
  /** The largest segment of a TCP connection, in bytes, unless it is smaller already. */
  | { kind: 'mss'; mss: number }
  | {
      kind: 'zone'
      zone: number
      helper?: string
      /** Only for packets in the direction of the first one. */ direction?: 'orig'
    }
  | {
      kind: 'dnat'
      to: Range
      port?: number
      /** As many inner ports as external ones, shifted 1:1. */ shiftFrom?: PortRange
    }
  /** `port`: from this one on, for the source ports `shiftFrom` or for one. */
  | { kind: 'snat'; to: Range; port?: number; shiftFrom?: PortRange }

/** All conditions must hold; a missing condition always holds. */
export interface Rule {
  in?: string
  out?: string
  /** By any other interface. */
  notIn?: string
  notOut?: string
  source?: Match
  destination?: Match
  /** A set of pairs: source address and destination port. */
  pair?: KernelSet
  /** Which address and port of the packet the pair is; source and destination port when undefined. */
  sides?: 'dst,dst' | 'src,src'
  proto?: string
  ports?: PortRange
  sport?: PortRange
  icmpType?: string
  /** TCP packets that open a connection, and answers to them. */
  syn?: true
  /** A socket of this node waits for the packet, at its address or at every address. Not for packets that the node sends. */
  socket?: true
  /** Conntrack: new connections only, translated ones only, or anything but these. */
  state?: 'NEW' | 'ESTABLISHED' | 'DNAT' | 'SNAT' | '!NEW' | '!DNAT'
  /** Conntrack: packets in the direction of the first one, or answers. */
  direction?: 'ORIGINAL' | 'REPLY'
  /** The port that the client called, of a translated connection. */
  originalPorts?: PortRange
  originalDestination?: Range
  /** The address to which answers of the other side come: the source that a connection was given. */
  replyDestination?: Range
  /** The packet's mark is another one, of the bits of the mask. */
  notMarked?: { mark: number; mask: number }
  /** Routed, not merely bridged. */
  routed?: true
  /** Only bridged: into the firewall bridge of a guest, or out of it. */
  bridged?: 'in' | 'out'
  target: Target
  /** Ids of the NAT rule that it serves, for counters and quarantine. */
  serves?: string
}

/** The sets that a rule asks. */
export function setsOf({ source, destination, pair }: Rule): KernelSet[] {
  return [source?.set, destination?.set, pair].filter((set) => set !== undefined)
}

export interface Chain {
  table: Table
  name: string
  rules: Rule[]
}

/** Some rules of a chain in order, and the chains that they lead to. */
export interface Part {
  rules: Rule[]
  chains: Chain[]
}

export function joined(parts: readonly (Part | readonly Rule[])[]): Part {
  return {
    rules: parts.flatMap((part) => ('rules' in part ? part.rules : part)),
    chains: parts.flatMap((part) => ('rules' in part ? part.chains : [])),
  }
}

/** A chain that consists of these parts, and the chains that they lead to. */
export function chainOf(table: Table, name: string, ...parts: readonly (Part | readonly Rule[])[]): Chain[] {
  const { rules, chains } = joined(parts)
  return [{ table, name, rules }, ...chains]
}

/** A rule as the restore program is given it, and the hash that tells it in the output of iptables-save, which spells rules its own way. */
export interface RuleText {
  hash: string
  /** `-A CHAIN ... -j TARGET`. */
  line: string
}

export interface WrittenChain extends Chain {
  /** The rules as text. */
  texts: readonly RuleText[]
}

export interface Ruleset {
  /** Own chains of a family; none when nothing is wanted of it. */
  chains: Record<Family, WrittenChain[]>
  /** By name. */
  sets: KernelSet[]
  /** Families that need the pair of interfaces for guests that reach themselves. */
  loop: Family[]
  /** Own routing rules and routes. */
  routing: Record<Family, Routing>
  /** Uplinks by which clients come to whom answers would leave by another one: the reverse path filter must be loose there. */
  loose: string[]
  /** Packets on firewall bridges get their zone from table bridge pvenat: with the nftables firewall, while anything is NATed. */
  hasBridgeZone: boolean
}

/** Own rules and routes of one family, in the words of `ip`. */
export interface Routing {
  /** The words after `ip rule add`. */
  rules: readonly string[]
  /** The words after `ip route replace`. */
  routes: readonly string[]
}

export const NO_ROUTING: Routing = { rules: [], routes: [] }
