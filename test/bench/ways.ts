/** The ways to put forwards into the kernel that pvenat is compared with, each as its users do it. */
import type { Backend } from '../lab/index.ts'
import type { Namespace } from '../lab/namespace.ts'
import { EXTERNAL, type BenchForward } from './generate.ts'

export const WAYS = ['pvenat', 'process per rule', 'linear chain', 'nft map'] as const
export type Way = (typeof WAYS)[number]

const match = ({ external, address, port }: BenchForward): string =>
  `PREROUTING -d ${EXTERNAL}/32 -p tcp -m tcp --dport ${external} -j DNAT --to-destination ${address}:${port}`

/** The original patch: its rules are flushed, then each is added by an iptables process. The loop itself is a shell's. */
export function processPerRule(backend: Backend, forwards: readonly BenchForward[], flush = true): string {
  const iptables = `iptables-${backend} -w 5 -t nat`
  return [
    ...(flush ? [`${iptables} -F PREROUTING`] : []),
    ...forwards.map((one) => `${iptables} -A ${match(one)}`),
  ]
    .map((line) => `${line}\n`)
    .join('')
}

/** One restore of one chain with a rule for each forward. */
export function linearChain(forwards: readonly BenchForward[]): string {
  return `*nat\n-F PREROUTING\n${forwards.map((one) => `-A ${match(one)}\n`).join('')}COMMIT\n`
}

/** One table with one rule and a map, written by hand for nft. */
export function nftMap(forwards: readonly BenchForward[]): string {
  const elements = forwards.map(mapElement).join(',\n')
  return `table ip byhand
delete table ip byhand
table ip byhand {
  map forwards {
    type inet_proto . inet_service : ipv4_addr . inet_service
    elements = { ${elements} }
  }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr ${EXTERNAL} dnat ip to meta l4proto . th dport map @forwards
  }
}
`
}

/** The change of one forward in the map of `nftMap`. */
export function mapChange(before: BenchForward, after: BenchForward): string {
  return `delete element ip byhand forwards { ${mapElement(before)} }\nadd element ip byhand forwards { ${mapElement(after)} }\n`
}

function mapElement({ external, address, port }: BenchForward): string {
  return `tcp . ${external} : ${address} . ${port}`
}

/** Puts forwards into force in one of the ways that are not pvenat's. */
export async function load(
  node: Namespace,
  way: Exclude<Way, 'pvenat'>,
  backend: Backend,
  forwards: readonly BenchForward[],
): Promise<void> {
  if (way === 'process per rule') await node.exec(['sh', '-e'], { input: processPerRule(backend, forwards) })
  else if (way === 'nft map') await node.exec(['nft', '-f', '-'], { input: nftMap(forwards) })
  else await node.exec([`iptables-${backend}-restore`, '-w', '5', '-n'], { input: linearChain(forwards) })
}

/** Takes everything away that any of the ways left, and what pvenat remembers. */
export async function clear(node: Namespace): Promise<void> {
  const empty = ['raw', 'filter', 'nat'].map((table) => `*${table}\nCOMMIT\n`).join('')
  const commands = ['legacy', 'nft'].flatMap((backend) => [`iptables-${backend}`, `ip6tables-${backend}`])
  for (const command of commands) await node.exec([`${command}-restore`, '-w', '5'], { input: empty })
  await node.exec(['nft', '-f', '-'], { input: 'table ip byhand\ndelete table ip byhand\n' })
  await node.exec(['ipset', 'destroy'])
  await node.exec(['rm', '-rf', '/var/lib/pvenat'])
}
