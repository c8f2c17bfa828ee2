import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Lab } from './lab.ts'

export type Backend = 'legacy' | 'nft'

/** Both, for `describe.each`. */
export const backends: readonly Backend[] = ['legacy', 'nft']

/** Loads what the real pve-firewall compiled from a tree (its pvefw.ipset, .v4 and .v6), the way it would. */
export async function loadPveFirewall(
  lab: Lab,
  backend: Backend,
  treeDir: string,
  node = 'pve',
): Promise<void> {
  const [sets, v4, v6] = await Promise.all(
    ['pvefw.ipset', 'pvefw.v4', 'pvefw.v6'].map((name) => readFile(join(treeDir, name), 'utf8')),
  )
  await lab.exec(node, ['ipset', 'restore'], { input: sets ?? '' })
  await lab.exec(node, [`iptables-${backend}-restore`, '-T', 'filter', '-n'], { input: v4 ?? '' })
  await lab.exec(node, [`ip6tables-${backend}-restore`, '-T', 'filter', '-n'], { input: v6 ?? '' })
}

/** Adds rules to what is there (`iptables-restore -n`): text of one or more tables, for one family. */
export async function addRules(
  lab: Lab,
  backend: Backend,
  family: 4 | 6,
  text: string,
  node = 'pve',
): Promise<void> {
  const command = `${family === 4 ? 'iptables' : 'ip6tables'}-${backend}-restore`
  await lab.exec(node, [command, '-w', '5', '-n'], { input: text })
}

/** Puts somebody else's rules into every table of both families, and two sets. They let all lab traffic be; port 29022 is theirs. */
export async function addForeignRules(lab: Lab, backend: Backend, node = 'pve'): Promise<void> {
  await lab.exec(node, ['ipset', 'restore'], { input: foreignSets })
  await addRules(
    lab,
    backend,
    4,
    foreignRules({ host: '192.0.2.77', lan: '172.17.0.0/16', set: 'foreign4' }),
    node,
  )
  await addRules(
    lab,
    backend,
    6,
    foreignRules({ host: '2001:db8:2::77', lan: 'fd17::/64', set: 'foreign6' }),
    node,
  )
}

const foreignSets = `create foreign4 hash:ip family inet
add foreign4 192.0.2.78
create foreign6 hash:ip family inet6
add foreign6 2001:db8:2::78
`

function foreignRules({ host, lan, set }: { host: string; lan: string; set: string }): string {
  return `*raw
:FOREIGN-RAW - [0:0]
-A PREROUTING -s ${host} -j FOREIGN-RAW
-A FOREIGN-RAW -p udp --dport 4789 -j CT --notrack
COMMIT
*mangle
:FOREIGN-MANGLE - [0:0]
-A FORWARD -o tun0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A POSTROUTING -d ${host} -j FOREIGN-MANGLE
-A FOREIGN-MANGLE -j MARK --set-xmark 0x10/0x10
COMMIT
*nat
:FOREIGN-NAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j FOREIGN-NAT
-A POSTROUTING -s ${lan} ! -o docker0 -m comment --comment "it's \\"foreign\\" pvenat:no" -j MASQUERADE
-A FOREIGN-NAT -i docker0 -j RETURN
-A FOREIGN-NAT -s ${host} -p tcp -m tcp --dport 29022 -j REDIRECT --to-ports 22
COMMIT
*filter
:FOREIGN-FILTER - [0:0]
-A INPUT -m set --match-set ${set} src -j DROP
-A FORWARD -j FOREIGN-FILTER
-A FOREIGN-FILTER -i docker0 ! -o docker0 -j ACCEPT
-A FOREIGN-FILTER -s ${host} -j DROP
COMMIT
`
}
