/** full=1, 1:1 NAT: packets to an external address go to the guest, and packets of the guest leave with this address. */
import { formatRange, sameRange, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { formatPorts, type PortRange } from '../ports.ts'
import { outInterfaces, type External } from './external.ts'
import { ANY } from './match.ts'
import type { Forward, NatRule } from './nat-rule.ts'
import { serves } from './sockets.ts'
import type { Order } from './order.ts'
import { nodePorts } from './policy.ts'
import type { View } from './view.ts'

/** What is common to all forwards of a rule in one family. */
export type Common = Omit<Forward, 'proto' | 'single' | 'ports' | 'innerPort' | 'sport'>

/** Fills `nat.forwards` and `nat.egresses`; returns the diagnostics. */
export function translateFull(order: Order, commons: readonly Common[], external: External): Diagnostic[] {
  const { nat, view } = order
  const problem = checkOptions(order)
  if (problem) return [problem]
  const said: Diagnostic[] = []
  for (const common of commons) {
    const { family, inner } = common
    const [address] = common.external
    if (!address) continue
    const main = view.network.way[family]?.ip
    const isMain = main !== undefined && sameRange(main, address)
    const kept = nodePorts(nat, address, isMain, view)
    if ('code' in kept) return [...said, kept]
    const keeps = kept.length > 0
    if (keeps) said.push(fullShared(nat, address, kept))
    else if (isMain) said.push(fullWhole(nat, address, view))
    const sockets = keeps && isMain ? { sockets: true as const } : {}
    nat.forwards.push({ ...common, proto: 'all', single: false, full: true, except: kept, ...sockets })
    const out = outInterfaces(external, family)
    const back = { family, exempt: false, out, to: address, rule: nat }
    nat.egresses.push({ ...back, source: { ranges: [inner] }, destination: ANY })
  }
  return said
}

function fullShared(nat: NatRule, address: Range, kept: Forward['except']): Diagnostic {
  const setting =
    nat.scope.kind === 'guest'
      ? `[guest ${nat.scope.guest.vmid}] addresses = ${formatRange(address)}`
      : '[nat] allow-reserved = yes'
  return diagnose('full-shared', nat.where, { ports: named(kept), address: formatRange(address), setting })
}

/** The ports that the node loses when the settings hand over its main address whole. */
function fullWhole(nat: NatRule, address: Range, { settings, nodePorts: own }: View): Diagnostic {
  const lost = [...settings.reserved, ...own.filter((one) => serves(one, address))]
  const ports = [...new Set(lost.map((one) => `${named([one])} (${one.holder})`))].join(', ')
  return diagnose('full-whole', nat.where, { ports, address: formatRange(address) })
}

/** `22/tcp, 5404-5412/udp, gre`. */
function named(list: readonly { proto: string; ports?: PortRange }[]): string {
  return list.map(({ proto, ports }) => (ports ? `${formatPorts([ports])}/${proto}` : proto)).join(', ')
}

function checkOptions({ marked, comment: { endpoint, places } }: Order): Diagnostic | undefined {
  const conflict = (reason: string): Diagnostic =>
    diagnose('option-conflict', places.full ?? places.all, { reason })
  if (!endpoint?.address) return conflict('full=1 needs the external address before it: NAT ADDRESS full=1')
  if (endpoint.ports) return conflict('full=1 forwards every port; write the address alone')
  const { proto, macro, sport, dport } = marked.rule
  if (proto ?? macro ?? sport ?? dport)
    return conflict('full=1 forwards everything; clear protocol, ports and macro of the rule')
  return undefined
}
