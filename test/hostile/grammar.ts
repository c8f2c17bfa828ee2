/** Every line that may ever go to ipset restore or iptables-restore, written down once more and independently of the product. */

const V4 = String.raw`(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}`
const V6 = '[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}'
const IP = `(?:${V4}|${V6})`
const NET = String.raw`${IP}(?:/\d{1,3})?`
const PORT = String.raw`(?:[1-9]\d{0,4})`
const PORTS = `${PORT}(?::${PORT})?`
const CHAIN = String.raw`PVENAT-[A-Za-z0-9.-]{1,21}`
const SET = String.raw`pvenat-(?:\d{1,10}|sdn|list|self-\d{1,3}|inner|tmp)-[a-z0-9]{1,11}(?:-v[46])?`
/** The interfaces of the node in node.ts, and pvenat's own. */
const NIC = String.raw`(?:vmbr0|vmbr1|fwbr\+|fwln\+|fwpr\+|tap\+|veth\+|pvenat[01])`
const SIDE = '(?:src|dst)'

const MARK = '0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}'
const CONDITIONS = [
  `-i ${NIC}`,
  `-o ${NIC}`,
  `! -[io] ${NIC}`,
  `--tcp-flags SYN,RST SYN`,
  `-[sd] ${NET}`,
  `-m set --match-set ${SET} ${SIDE}(?:,${SIDE})?`,
  `-m iprange --${SIDE}-range ${IP}-${IP}`,
  `-p (?:tcp|udp|sctp|udplite|dccp|esp|ah|gre|4|94|41|icmp|icmpv6)`,
  `-m (?:tcp|udp|sctp|udplite|dccp)`,
  `--sport ${PORTS}`,
  `--dport ${PORTS}`,
  String.raw`-m icmp --icmp-type [a-z-]{3,30}`,
  String.raw`-m icmp --icmp-type TOS-(?:host|network)-(?:unreachable|redirect)`,
  `-m icmp6 --icmpv6-type [a-z-]{3,30}`,
  `-m physdev ! --physdev-is-bridged`,
  `-m physdev --physdev-is-bridged`,
  `-m physdev --physdev-(?:in|out) ${NIC}`,
  `-m conntrack(?: !)? --ctstate (?:NEW|DNAT|SNAT|RELATED,ESTABLISHED)`,
  `(?:-m conntrack )?--ctdir (?:ORIGINAL|REPLY)`,
  `--ctorigdst ${NET}`,
  `--ctrepldst ${IP}`,
  `-m socket --nowildcard`,
  `-m mark ! --mark ${MARK}`,
  `--ctorigdstport ${PORTS}`,
]

const FROM = String.raw`(?:${V4}(?::${PORT}(?:-${PORT})?)?|${V6}|\[${V6}\]:${PORT}(?:-${PORT})?)`
const V4TO = `${V4}(?::${PORT}(?:-${PORT}/${PORT})?)?`
const V6TO = String.raw`(?:${V6}|\[${V6}\]:${PORT}(?:-${PORT}/${PORT})?)`
const TARGETS = [
  `-[jg] ${CHAIN}`,
  `-j (?:RETURN|ACCEPT|DROP|MASQUERADE)`,
  `-j REJECT --reject-with icmp6?-port-unreachable`,
  String.raw`-j CT (?:--zone(?:-orig)? [12]|--zone 1 --helper [a-z-]+|--helper [a-z-]+)`,
  `-j NETMAP --to ${NET}`,
  `-j DNAT --to-destination (?:${V4TO}|${V6TO})`,
  `-j SNAT --to-source ${FROM}`,
  `-j MARK --set-xmark ${MARK}`,
  String.raw`-j TCPMSS --set-mss [1-9]\d{1,4}`,
]

const any = (all: readonly string[]) => `(?:${all.join('|')})`
const LINES = [
  // ipset restore
  String.raw`create ${SET} hash:(?:net|ip,port) family inet6? hashsize 64 maxelem \d{2,7}`,
  `add ${SET} ${NET}(?: nomatch)?`,
  `add ${SET} ${IP},(?:tcp|udp|sctp):${PORT}`,
  `swap ${SET} ${SET}`,
  `destroy ${SET}`,
  // iptables-restore
  String.raw`\*(?:raw|mangle|filter|nat)`,
  'COMMIT',
  String.raw`:${CHAIN} - \[0:0\]`,
  `-[FX] ${CHAIN}`,
  `-I (?:PREROUTING|FORWARD|OUTPUT|POSTROUTING) 1 -j ${CHAIN}`,
  `-A FORWARD -j PVENAT-PASSED`,
  `-A ${CHAIN}(?: ${any(CONDITIONS)})* -m comment --comment pvenat:[0-9a-z]{1,11} ${any(TARGETS)}`,
]

const LINE = new RegExp(`^${any(LINES)}$`)

/** Lines that are none of these. */
export function strangeLines(input: string): string[] {
  if (input === '') return []
  if (!input.endsWith('\n')) return ['the input does not end with a line feed']
  return input
    .slice(0, -1)
    .split('\n')
    .filter((line) => !LINE.test(line))
}
