/** The line that lets a packet pass where a rule of others drops it. */
import { formatRange as show } from '../address.ts'
import { quoted } from '../facts/fixes.ts'
import { keeperOf } from '../facts/keepers.ts'
import type { NftChain } from '../facts/nftables.ts'
import type { Met } from './fields.ts'
import { CONNTRACK, nameOf } from './filters.ts'
import type { Fix } from './step.ts'

/**
 * Lets a packet, or answers, pass ahead of all rules of a base chain, where nothing else is passed by with that: not the marks and the zone of
 * pvenat, not the firewall of the node, nor that of a guest, whose frames meet FORWARD on a bridge of their own.
 */
export function letPass(chain: NftChain, met: Met): Fix {
  const keeper = keeperOf(nameOf(chain))
  const { family, table, name, program, hook, priority } = chain
  const isOdd = program !== undefined && (table !== 'filter' || hook !== 'forward')
  const words = program === undefined ? inNft(met) : inIptables(met)
  if (isOdd || words === undefined || met.isUnseen || (met.isAnswer && priority < CONNTRACK))
    return { commands: [], instead: `change that rule${keeper ? ` in ${keeper}, which made it` : ''}` }
  const command =
    program === undefined
      ? `nft insert rule ${[family, table, name].map(quoted).join(' ')} ${words} accept`
      : `${program.replace(/-save$/, '')} -w -I FORWARD ${words} -j ACCEPT`
  const instead = keeper && `${keeper} made these rules and may put them back: allow it there`
  return { commands: [command], ...(instead === undefined ? {} : { instead }) }
}

/** Undefined where too little is known of the packet. */
function inNft({
  family,
  proto,
  source,
  destination,
  dport,
  in: from,
  out,
  dnat,
  isAnswer,
}: Met): string | undefined {
  const ip = family === 4 ? 'ip' : 'ip6'
  if (isAnswer) return 'ct state related,established'
  const by =
    out !== undefined ? `oifname ${quoted(out)}` : from !== undefined ? `iifname ${quoted(from)}` : ''
  if (source && !dnat && by !== '') return `${ip} saddr ${show(source)} ${by}`
  const port = dport === undefined ? `meta l4proto ${proto}` : `${proto} dport ${dport}`
  return destination && proto !== 'all'
    ? [`${ip} daddr ${show(destination)}`, by, port].filter(Boolean).join(' ')
    : undefined
}

function inIptables({ proto, source, destination, dport, out, dnat, isAnswer }: Met): string | undefined {
  if (isAnswer) return '-m conntrack --ctstate RELATED,ESTABLISHED'
  if (out === undefined) return undefined
  if (source && !dnat) return `-s ${show(source)} -o ${quoted(out)}`
  const port = `-p ${proto}${dport === undefined ? '' : ` --dport ${dport}`}`
  return destination ? `-d ${show(destination)} -o ${quoted(out)} ${port}` : undefined
}
