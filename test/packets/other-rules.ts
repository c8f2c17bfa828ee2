/** Rules of others at every hook that a forwarded packet passes, and what explain says of them. */

type Rules = [put: string, take: string]

/** A table of nft with one base chain, put and taken away. */
export function table(family: string, head: string, rule: string): Rules {
  return [
    `nft -f - <<'EOF'\ntable ${family} somebody {\n chain one {\n type filter hook ${head}\n ${rule}\n }\n}\nEOF`,
    `nft delete table ${family} somebody`,
  ]
}

function iptables(words: string, backend = 'legacy'): Rules {
  return [`iptables-${backend} ${words}`, `iptables-${backend} ${words.replace('-A', '-D')}`]
}

/** A routing rule that leads to nowhere. */
function toNowhere(selector: string): Rules {
  return [
    `ip route add blackhole default table 77; ip rule add ${selector} lookup 77 pref 100`,
    `ip rule del ${selector} lookup 77 pref 100; ip route flush table 77`,
  ]
}

/** A mark, set in a chain to which PREROUTING leads, and a routing rule that asks for it. */
function marked(words: string): Rules {
  const mangle = 'iptables-legacy -t mangle'
  const [put, take] = toNowhere('fwmark 7')
  return [
    `${mangle} -N somebody; ${mangle} -A somebody ${words} -j MARK --set-mark 7; ${mangle} -A PREROUTING -j somebody; ${put}`,
    `${take}; ${mangle} -D PREROUTING -j somebody; ${mangle} -F somebody; ${mangle} -X somebody`,
  ]
}

/** Each with the commands that put it and take it away. `wire`: the nft of Debian 12 does not tell at which interface a chain is. */
export const OTHER_RULES: [name: string, rules: Rules, gets: string][] = [
  ['the first PREROUTING', table('ip', 'prerouting priority -310', 'ip saddr 203.0.113.1 drop'), 'stopped'],
  [
    'PREROUTING behind DNAT',
    table('inet', 'prerouting priority -50', 'ip daddr 10.10.10.105 drop'),
    'stopped',
  ],
  ['POSTROUTING', table('inet', 'postrouting priority 0', 'tcp dport 22 drop'), 'stopped'],
  [
    'answers in PREROUTING',
    table('ip', 'prerouting priority -150', 'iifname vmbr1 tcp sport 22 drop'),
    'stopped',
  ],
  ['answers in POSTROUTING', table('ip', 'postrouting priority 300', 'ip saddr 203.0.113.2 drop'), 'stopped'],
  ['no connection tracking', table('ip', 'prerouting priority -300', 'tcp dport 1022 notrack'), 'stopped'],
  ['answers without tracking', table('ip', 'prerouting priority -300', 'tcp sport 22 notrack'), 'stopped'],
  [
    'the wire for all families',
    table('inet', 'ingress device eth0 priority 0;', 'tcp dport 1022 drop'),
    'wire',
  ],
  ['a bridge', table('bridge', 'output priority 0', 'ip daddr 10.10.10.105 tcp dport 22 drop'), 'stopped'],
  [
    'answers on a bridge',
    table('bridge', 'output priority 0', 'ip saddr 203.0.113.2 tcp sport 1022 drop'),
    'stopped',
  ],
  ['answers from a port', table('ip', 'postrouting priority 300', 'tcp sport 1022 drop'), 'stopped'],
  ['the wire', table('netdev', 'ingress device eth0 priority 0;', 'tcp dport 1022 drop'), 'wire'],
  [
    'ebtables',
    iptables('-A OUTPUT -p ip --ip-dst 10.10.10.105 -j DROP').map((one) =>
      one.replace('iptables-legacy', 'ebtables-nft'),
    ) as Rules,
    'unknown',
  ],
  ['raw', iptables('-t raw -A PREROUTING -s 203.0.113.0/24 -j DROP'), 'stopped'],
  [
    'raw, by a set',
    iptables('-t raw -A PREROUTING -m set ! --match-set nobody src -j DROP').map((one, i) =>
      i === 0 ? `ipset create nobody hash:ip; ${one}` : `${one}; ipset destroy nobody`,
    ) as Rules,
    'unknown',
  ],
  ['raw without tracking', iptables('-t raw -A PREROUTING -p tcp --dport 1022 -j CT --notrack'), 'stopped'],
  [
    'raw without tracking of answers',
    iptables('-t raw -A PREROUTING -p tcp --sport 22 -j CT --notrack'),
    'stopped',
  ],
  ['mangle PREROUTING', iptables('-t mangle -A PREROUTING -p tcp --dport 1022 -j DROP', 'nft'), 'stopped'],
  ['mangle FORWARD', iptables('-t mangle -A FORWARD -p tcp --dport 22 -j DROP'), 'stopped'],
  ['mangle POSTROUTING', iptables('-t mangle -A POSTROUTING -p tcp --dport 22 -j DROP'), 'stopped'],
  ['a rule for others', iptables('-t mangle -A POSTROUTING -p tcp --dport 23 -j DROP'), 'through'],
  [
    'a route to nowhere',
    ['ip route add blackhole 203.0.113.1', 'ip route del blackhole 203.0.113.1'],
    'stopped',
  ],
  [
    'a client behind another interface',
    ['ip route add 203.0.113.1 dev vmbr1', 'ip route del 203.0.113.1 dev vmbr1'],
    'unknown',
  ],
  ['a routing rule for a port', toNowhere('ipproto tcp sport 22'), 'stopped'],
  ['a routing rule for a mark', marked('-i vmbr1 -p tcp --sport 22'), 'unknown'],
  ['a mark for others', marked('-i vmbr1 -p tcp --sport 23'), 'through'],
  ['a zone of answers', iptables('-t raw -A PREROUTING -i vmbr1 -j CT --zone 7'), 'unknown'],
  [
    'a zone of answers in nft',
    table('ip', 'prerouting priority -300', 'iifname vmbr1 ct zone set 7'),
    'unknown',
  ],
  ['a zone of both', iptables('-t raw -A PREROUTING -j CT --zone 7'), 'through'],
  ['a NIC on no bridge', ['ip link set veth105i0 nomaster', 'ip link set veth105i0 master vmbr1'], 'stopped'],
  [
    'an uplink that does not forward',
    ['sysctl -qw net.ipv4.conf.vmbr0.forwarding=0', 'sysctl -qw net.ipv4.conf.vmbr0.forwarding=1'],
    'stopped',
  ],
  [
    'a bridge that does not forward',
    ['sysctl -qw net.ipv4.conf.vmbr1.forwarding=0', 'sysctl -qw net.ipv4.conf.vmbr1.forwarding=1'],
    'stopped',
  ],
]

/** As a step names what it rests on, by the command that put it there. */
export function nameOf(put: string): string {
  const [, its, chain] = / -t (\w+) (-A \w+)/.exec(put) ?? []
  if (its !== undefined) return `${its} ${chain}`
  if (put.includes('ebtables')) return 'bridge filter OUTPUT'
  if (put.includes('forwarding')) return 'forwarding = 0'
  if (put.includes('nomaster')) return 'ip link show veth105i0'
  return put.includes('somebody') ? 'somebody' : 'ip route get'
}
