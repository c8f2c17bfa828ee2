/**
 * NAT rules: what the marked rules of the .fw files ask for, free of PVE's names and spellings. A NatRule is one marked rule
 * in one scope (a group's rule once for every guest that pulls it in); its forwards, egresses and blocks are
 * elementary: one family, one protocol, one range of ports.
 */
import type { Family, Range } from '../address.ts'
import type { Place } from '../diagnostic.ts'
import type { Guest } from '../guest/guest.ts'
import type { PortRange } from '../ports.ts'
import type { Endpoint } from './endpoint.ts'
import type { Ask } from './rights.ts'

type State = 'active' | 'inactive' | 'error' | 'conflict' | 'quarantined'

/** Whose power a rule has: cluster and host rules are the administrator's, guest rules a tenant's. */
export type Scope = { kind: 'cluster' } | { kind: 'host' } | { kind: 'guest'; guest: Guest }

export interface NatRule {
  id: string
  kind: 'forward' | 'egress' | 'block' | 'exempt'
  state: State
  /** Why it is not active, in a few words; empty when it is. */
  reason: string
  /** Whether it is meant to work on this node: it is switched on and does not name another node's address or interface. */
  isMeant: boolean
  scope: Scope
  /** The whole line. */
  place: Place
  /** The word that says which port or address it claims. */
  where: Place
  /** The words that name the external and the inner address, where there are any. */
  whereAddress?: Place | undefined
  whereInner?: Place | undefined
  comment: string
  /** What the comment asks for, also when nothing comes of it. */
  asked?: Endpoint | undefined
  /** The external interface that the rule names. */
  askedInterface?: string | undefined
  /** The rule's own source as typed, or ''. */
  source: string
  forwards: Forward[]
  egresses: Egress[]
  blocks: Block[]
  /** Of a guest's rule that the node cannot serve now: the rights that it asks for all the same. */
  asks: Ask[]
  /** Its owner, or the settings, gave up what it asks for: the rights that rest on it end. */
  isGivenUp: boolean
}

/**
 * Addresses that a packet's source or destination must be one of; an empty list matches nothing. `set` is the kernel set
 * that holds them when they are more than one network or range.
 */
export interface Match {
  ranges: Range[] | 'any'
  set?: KernelSet
}

/** The clients of a forward: ranges by their first address. */
export interface Clients extends Match {
  /** Equal for equal addresses, however they are named; the state remembers it. */
  key: string
}

/** The addresses that a rule names, by family; a family that is missing cannot match at all. */
export type Matches = Partial<Record<Family, Clients>>

/** An ipset of the .fw files. */
export interface SetMatches {
  matches: Matches
  /** An exception without which the set would match more than it says. */
  unusable: { entry: string; reason: string } | undefined
}

/** An own set. */
export interface KernelSet {
  name: string
  type: 'hash:net' | 'hash:ip,port'
  family: Family
  /** `10.0.0.0/8`, `10.1.0.0/16 nomatch`, `10.10.10.107,tcp:822`; sorted. */
  entries: string[]
  /** A set of the datacenter or of SDN, which no guest has to answer for. */
  shared?: true
}

export interface Forward {
  family: Family
  /** tcp, udp, sctp, or a protocol without ports (`ports` and `innerPort` are then undefined). `all`: full=1. */
  proto: string
  /** External addresses: all of the node's, of one interface, or one; or one network. Resolved, so an address is in the list or not. */
  external: Range[]
  ports?: PortRange
  inner: Range
  /** First inner port. As wide as `ports` (shifted 1:1), unless `single`. */
  innerPort?: number
  /** All external ports lead to the one inner port. */
  single: boolean
  source: Clients
  /** Source port that the macro demands of the client (IPsec, SMB). */
  sport?: PortRange
  hairpin: boolean
  snat: boolean
  full: boolean
  /**
   * Of full=1: what is left to the node all the same (protocol, ports and source count), for a network (`external` is the one network,
   * `inner` another of its size) at one of its addresses.
   */
  except: (Pick<Forward, 'proto' | 'ports' | 'source'> & { at?: Range })[]
  /** Of full=1 at the node's own address: what a socket of the node waits for stays with the node. */
  sockets?: true
  /** The rule was written with -sport: pve-firewall alone would drop what is forwarded. */
  accept: boolean
  rule: NatRule
}

/** Packets of an OUT rule or of a block. */
export interface Traffic {
  family: Family
  source: Match
  destination: Match
  proto?: string
  ports?: PortRange
  sport?: PortRange
  icmpType?: string
}

export interface Egress extends Traffic {
  exempt: boolean
  /** External interfaces by which it leaves. */
  out: string[]
  /** SNAT to this address, or to the same place in this network; masquerade when undefined. */
  to?: Range
  /** Uplinks of which the first that is up is the only way; without it and without an address of an uplink, the default route. */
  via?: string[]
  rule: NatRule
}

export interface Block extends Traffic {
  /** Which way: connections that lead into the destination, or that begin in the source. */
  direction: 'in' | 'out'
  /** External interfaces by which they come or go; undefined for any way. */
  interfaces?: string[]
  action: 'DROP' | 'REJECT'
  rule: NatRule
}

/** The granted forwards of one family: those that hold at every external address alike, and what differs at single ones. */
export interface Dispatch {
  common: Forward[]
  addresses: { address: Range; special: Forward[]; common: boolean }[]
}
