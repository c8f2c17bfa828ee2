/** A NAT rule that somebody else wrote. */
import type { Range, Family } from '../address.ts'
import type { Backend } from '../facts/backend.ts'
import type { BootLine } from '../facts/node-facts.ts'
import type { PortRange } from '../ports.ts'

export const HOOKS = ['PREROUTING', 'OUTPUT', 'POSTROUTING'] as const
export type Hook = (typeof HOOKS)[number]

/** Interfaces as `-i` and `-o` name them, and addresses. */
export interface Sides {
  source?: Range
  destination?: Range
  in?: string
  out?: string
}

interface Conditions extends Sides {
  proto?: string
  ports?: PortRange[]
  sports?: PortRange[]
  /** Any address of the node (`-m addrtype --dst-type LOCAL`). */
  isLocal?: true
  /** What stood behind a `!`. */
  not: Sides
}

/** Where a rule of nft itself stands. */
export interface NativePlace {
  family: string
  table: string
  chain: string
  handle: number
}

export interface Written extends Conditions {
  /** `iptables-nft-save`, `nft -a list ruleset`, `/etc/network/interfaces:12`. */
  from: string
  /** The rule as it was read there. */
  text: string
  family: Family
  hook: Hook
  /** `DNAT`, `MASQUERADE`, `CT`; `forwarding` of a command that switches it on. */
  target: string
  /** Of DNAT and SNAT. Ports that are `shifted` keep their distance, others are chosen by the kernel. */
  to?: { address?: Range; network?: Range; ports?: PortRange; isShifted?: boolean }
  zone?: string
  /** Words that were not understood. */
  unread: string[]
  /** How it is deleted; undefined where it is not in force. */
  loaded?: { backend: Backend; table: 'raw' | 'nat'; chain: string; line: string } | { native: NativePlace }
  /** The line that adds it at boot. */
  boot?: BootLine
}
