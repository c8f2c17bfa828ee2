/** The parts of the JSON output of `ip` that matter. */

/** Of `ip -j -d addr`. */
export interface IpLink {
  ifname: string
  altnames?: string[]
  link?: string
  /** The bridge that it is a port of. */
  master?: string
  linkinfo?: { info_kind?: string }
  /** `UP`, `LOWER_UP`, `NOARP`, `POINTOPOINT` and others. */
  flags?: string[]
  mtu?: number
  addr_info?: IpAddress[]
}

interface IpAddress {
  family: string
  local?: string
  prefixlen?: number
  scope?: string
  temporary?: boolean
  tentative?: boolean
  dadfailed?: boolean
}

/** Of `ip -j route`. */
export interface IpRoute {
  dst?: string
  /** `unicast` when undefined. */
  type?: string
  dev?: string
  gateway?: string
  /** A gateway of the other family. */
  via?: { family: string; host: string }
  nexthops?: { dev?: string; gateway?: string }[]
  /** `main` when undefined. */
  table?: string
  protocol?: string
  metric?: number
  metrics?: { mtu?: number }[]
  flags?: string[]
  prefsrc?: string
}

/** Of `ip -j rule`. */
export interface IpRule {
  priority?: number
  /** Present when the selector is inverted. */
  not?: null
  src?: string
  srclen?: number
  dst?: string
  iif?: string
  fwmark?: string
  fwmask?: string
  /** Undefined of a rule that leads to no table (`unreachable`, `goto`). */
  table?: string
  suppress_prefixlen?: number
  /** Of rules for some protocols or ports only. */
  ipproto?: string
  sport?: number
  dport?: number
  sport_start?: number
  dport_start?: number
  protocol?: string
}

/** What the kernel says of the routing of one family. */
export interface IpRouting {
  rules: readonly IpRule[]
  /** Default routes and halves of all tables. */
  defaults: readonly IpRoute[]
  /** The other routes of the tables main and local. */
  routes: readonly IpRoute[]
  /** The way to a host of the internet; none when there is no way. */
  outside: IpRoute | undefined
}
