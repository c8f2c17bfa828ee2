/**
 * The macros of pve-firewall: names for lists of protocol and port, e.g. `SSH(ACCEPT)`.
 * The tables are those of pve-firewall Firewall.pm (`$pve_fw_macros`, `$pve_ipv6fw_macros`).
 */
import { asciiLower } from './bytes.ts'
import { icmpFamily } from './icmptypes.ts'
import type { FwRule } from './fw-file.ts'

/** Protocol, destination port, source port. With an icmp protocol the second is the icmp type. */
type Row = readonly [proto: string, dport?: string, sport?: string]

/** One template of a macro, or one rule when there is no macro: what a packet has to match. */
interface Match {
  proto?: string
  dport?: string
  sport?: string
  /** Name of an icmp type; set only with proto icmp, icmpv6 or ipv6-icmp. */
  icmpType?: string
}

// prettier-ignore
const ROWS: Readonly<Record<string, readonly Row[]>> = {
  Amanda: [['udp', '10080'], ['tcp', '10080']],
  Auth: [['tcp', '113']],
  BGP: [['tcp', '179']],
  BitTorrent: [['tcp', '6881:6889'], ['udp', '6881']],
  BitTorrent32: [['tcp', '6881:6999'], ['udp', '6881']],
  Ceph: [['tcp', '6789'], ['tcp', '3300'], ['tcp', '6800:7300']],
  Citrix: [['tcp', '1494'], ['udp', '1604'], ['tcp', '2598']],
  CVS: [['tcp', '2401']],
  DAAP: [['tcp', '3689'], ['udp', '3689']],
  DCC: [['tcp', '6277']],
  DHCPfwd: [['udp', '67:68', '67:68']],
  Distcc: [['tcp', '3632']],
  DNS: [['udp', '53'], ['tcp', '53']],
  Finger: [['tcp', '79']],
  FTP: [['tcp', '21']],
  Git: [['tcp', '9418']],
  GNUnet: [['tcp', '2086'], ['udp', '2086'], ['tcp', '1080'], ['udp', '1080']],
  GRE: [['47']],
  HKP: [['tcp', '11371']],
  HTTP: [['tcp', '80']],
  HTTPS: [['tcp', '443']],
  ICPV2: [['udp', '3130']],
  ICQ: [['tcp', '5190']],
  IMAP: [['tcp', '143']],
  IMAPS: [['tcp', '993']],
  IPIP: [['94']],
  IPsec: [['udp', '500', '500'], ['50']],
  IPsecah: [['udp', '500', '500'], ['51']],
  IPsecnat: [['udp', '500'], ['udp', '4500'], ['50']],
  IRC: [['tcp', '6667']],
  Jetdirect: [['tcp', '9100']],
  L2TP: [['udp', '1701']],
  LDAP: [['tcp', '389']],
  LDAPS: [['tcp', '636']],
  Mail: [['tcp', '25'], ['tcp', '465'], ['tcp', '587']],
  MDNS: [['udp', '5353']],
  MSNP: [['tcp', '1863']],
  MSSQL: [['tcp', '1433']],
  Munin: [['tcp', '4949']],
  MySQL: [['tcp', '3306']],
  NNTP: [['tcp', '119']],
  NNTPS: [['tcp', '563']],
  NTP: [['udp', '123']],
  OpenVPN: [['udp', '1194']],
  OSPF: [['89']],
  PCA: [['udp', '5632'], ['tcp', '5631']],
  Ping: [['icmp', 'echo-request']],
  PMG: [['tcp', '8006']],
  POP3: [['tcp', '110']],
  POP3S: [['tcp', '995']],
  PostgreSQL: [['tcp', '5432']],
  PPtP: [['47'], ['tcp', '1723']],
  Printer: [['tcp', '515']],
  Razor: [['tcp', '2703']],
  Rdate: [['tcp', '37']],
  RDP: [['tcp', '3389']],
  RIP: [['udp', '520']],
  RNDC: [['tcp', '953']],
  Rsync: [['tcp', '873']],
  SANE: [['tcp', '6566']],
  SixXS: [['tcp', '3874'], ['udp', '3740'], ['41'], ['udp', '5072,8374']],
  SMB: [['udp', '135,445'], ['udp', '137:139'], ['udp', '1024:65535', '137'], ['tcp', '135,139,445']],
  SMBswat: [['tcp', '901']],
  SMTP: [['tcp', '25']],
  SMTPS: [['tcp', '465']],
  SNMP: [['udp', '161:162'], ['tcp', '161']],
  SPAMD: [['tcp', '783']],
  SPICEproxy: [['tcp', '3128']],
  Squid: [['tcp', '3128']],
  SSH: [['tcp', '22']],
  Submission: [['tcp', '587']],
  SVN: [['tcp', '3690']],
  Syslog: [['udp', '514'], ['tcp', '514']],
  Telnet: [['tcp', '23']],
  Telnets: [['tcp', '992']],
  TFTP: [['udp', '69']],
  Time: [['tcp', '37']],
  Trcrt: [['udp', '33434:33524'], ['icmp', 'echo-request']],
  VNC: [['tcp', '5900:5999']],
  VNCL: [['tcp', '5500']],
  Web: [['tcp', '80'], ['tcp', '443']],
  Webcache: [['tcp', '8080']],
  Webmin: [['tcp', '10000']],
  Whois: [['tcp', '43']],
}

/** What stands in for a macro in IPv6, or exists there alone. */
// prettier-ignore
const ROWS_V6: Readonly<Record<string, readonly Row[]>> = {
  DHCPv6: [['udp', '546:547', '546:547']],
  NeighborDiscovery: [['icmpv6', 'router-solicitation'], ['icmpv6', 'router-advertisement'], ['icmpv6', 'neighbor-solicitation'], ['icmpv6', 'neighbor-advertisement']],
  Ping: [['icmpv6', 'echo-request']],
  Trcrt: [['udp', '33434:33524'], ['icmpv6', 'echo-request']],
}

/** Canonical names of all macros, in the table's order. */
export const macroNames: readonly string[] = [...new Set([...Object.keys(ROWS), ...Object.keys(ROWS_V6)])]

const CANONICAL: ReadonlyMap<string, string> = new Map(macroNames.map((name) => [asciiLower(name), name]))

/** The canonical name of a macro, looked up without regard to case; undefined when there is no such macro. */
export function canonicalMacro(name: string): string | undefined {
  return CANONICAL.get(asciiLower(name))
}

/** The rows of a macro for one family; none when it does not exist there. Without a family: IPv4's if it has any, as upstream. */
function macroRows(name: string, family: 4 | 6 | undefined): readonly Row[] {
  const canonical = canonicalMacro(name) ?? ''
  const tables = family === 4 ? [ROWS] : family === 6 ? [ROWS_V6, ROWS] : [ROWS, ROWS_V6]
  return tables.find((table) => table[canonical] !== undefined)?.[canonical] ?? []
}

/** A field that macro and rule both set, and set differently. */
interface MacroClash {
  field: 'proto' | 'dport' | 'sport'
  message: string
}

/**
 * What upstream says when a rule's own protocol or ports differ from those of its macro: the first clash in the table's
 * order, undefined when there is none. A field set on both sides must be the same text in every template.
 * `family` is the one the rule is bound to, if any.
 */
export function macroClash(rule: FwRule, family: 4 | 6 | undefined): MacroClash | undefined {
  for (const [proto, dport, sport] of macroRows(rule.macro ?? '', family)) {
    const template = { proto, dport, sport }
    for (const field of ['proto', 'dport', 'sport'] as const) {
      const value = template[field]
      if (value === undefined || value === '' || rule[field] === undefined || rule[field] === value) continue
      return { field, message: `parameter '${field}' already define in macro (value = '${value}')` }
    }
  }
  return undefined
}

/** `dport` under an icmp protocol is the icmp type: how upstream stored it before there was `icmp-type`. */
function match(rule: FwRule, [proto, dport, sport]: Row | readonly []): Match {
  const out: Match = {}
  const ownProto = proto ?? rule.proto
  const port = dport !== undefined && dport !== '' ? dport : rule.dport
  const sourcePort = sport ?? rule.sport
  if (ownProto !== undefined) out.proto = ownProto
  if (icmpFamily(ownProto) !== undefined) {
    const type = port ?? rule['icmp-type']
    if (type !== undefined) out.icmpType = type
  } else if (port !== undefined) out.dport = port
  if (sourcePort !== undefined) out.sport = sourcePort
  return out
}

/**
 * Protocol and ports of a rule in one family: one entry for each template of its macro, in the table's order, the rule's own
 * added to each; a single entry for a rule without macro. Empty when the rule or its macro is of the other family, when the
 * macro is unknown, and when a field clashes with the macro (such a rule has errors).
 */
export function expandMacro(rule: FwRule, family: 4 | 6): Match[] {
  if (rule.ipversion !== undefined && rule.ipversion !== family) return []
  if (rule.macro === undefined) return [match(rule, [])]
  if (macroClash(rule, family) !== undefined) return []
  return macroRows(rule.macro, family).map((row) => match(rule, row))
}
