/**
 * The file model: what pve-firewall makes of one .fw file, kept with the places it came from.
 * All text is the file's bytes, one character per byte (latin1), as the upstream parser treats it;
 * only comments are decoded (leniently, as UTF-8).
 */

/** The part of one line that something rests on: bytes [from, to) of line `line` (first line = 1). */
export interface Span {
  line: number
  from: number
  to: number
}

/** Which upstream rule environment a line is judged in (pve-firewall Firewall.pm, `rule_env`). */
export type RuleEnv = 'cluster' | 'host' | 'vm' | 'ct' | 'group' | 'vnet'

/** The fields of a rule, by PVE's own names. `type` and `action` may carry errors, too. */
export type RuleField =
  | 'type'
  | 'action'
  | 'macro'
  | 'iface'
  | 'source'
  | 'dest'
  | 'proto'
  | 'dport'
  | 'sport'
  | 'log'
  | 'icmp-type'

export interface FwRule {
  /** Lower case: `in`, `out`, `forward`, `group`, or whatever stood there (then with an error on `type`). */
  type: string
  /** ACCEPT, DROP, REJECT as typed; for `group` the group's name as typed. */
  action: string
  /** Canonical name of the macro, e.g. `SSH`; as typed when unknown. */
  macro?: string
  iface?: string
  source?: string
  dest?: string
  proto?: string
  dport?: string
  sport?: string
  log?: string
  'icmp-type'?: string
  enable: 0 | 1
  /** Decoded and trimmed. Empty when there was a `#` and nothing behind it. */
  comment?: string
  /** What pve-firewall says against the rule; a rule with any is never compiled. */
  errors?: Partial<Record<RuleField, string>>
  /** Set when an address or an icmp protocol fixes the family, as upstream's `ipversion`. */
  ipversion?: 4 | 6
  /** The whole line, trimmed. */
  span: Span
  /** Where the value of each field stands (`macro` and `action`: the name alone), and the raw trimmed comment. */
  spans: Partial<Record<RuleField | 'comment', Span>>
}

export interface FwAlias {
  /** As typed; the key in `aliases` is the lower-case form. */
  name: string
  /** `/32` and `/128` stripped, as upstream does. */
  cidr: string
  comment?: string
  ipversion: 4 | 6
  span: Span
}

export interface FwSetEntry {
  /** Address, network, or alias reference (as typed). */
  cidr: string
  nomatch?: 1
  comment?: string
  errors?: { cidr?: string; nomatch?: string }
  span: Span
}

export interface FwSet {
  comment?: string
  entries: FwSetEntry[]
}

export interface FwGroup {
  comment?: string
  rules: FwRule[]
}

/** A line that pve-firewall skips with a warning. `comment` is what stands behind its first `#`, if anything. */
export interface SkippedLine {
  span: Span
  reason: string
  comment?: string
}

/** One option of [OPTIONS], e.g. `enable: 1`. Values as upstream normalises them (numbers as numbers). */
type FwOptions = Record<string, string | number>

export interface FwFile {
  options: FwOptions
  aliases: Map<string, FwAlias>
  /** Keys in lower case, without `+`. */
  ipset: Map<string, FwSet>
  /** Keys in lower case. */
  groups: Map<string, FwGroup>
  rules: FwRule[]
  skipped: SkippedLine[]
}

/** What a file is read against: the node's /etc/services and /etc/protocols, and for all but cluster.fw the cluster's file. */
export interface ReadContext {
  /** Service name (first column) → port; the last matching line wins. */
  services: ReadonlyMap<string, number>
  /** Protocol names (first column) and numbers listed in /etc/protocols. */
  protocols: ReadonlySet<string>
  cluster?: FwFile
  /** Names of the sets that SDN provides (`sdn/` scope), lower case. */
  sdnSets?: ReadonlySet<string>
}
