/** full=1, 1:1 NAT: what arrives at an external address goes to the guest, and what the guest sends leaves as that address. */
import { formatRange, sameRange, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { formatPorts } from '../ports.ts'
import { outInterfaces, type External } from './external.ts'
import { ANY } from './match.ts'
import type { Forward, NatRule } from './model.ts'
import type { Order } from './order.ts'
import { nodePorts } from './policy.ts'

/** What is common to all forwards of a rule in one family. */
export type Common = Omit<Forward, 'proto' | 'single' | 'ports' | 'innerPort' | 'sport'>

/** Fills `nat.forwards` and `nat.egresses`; returns what there is to say. */
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
    if (kept.length > 0) said.push(fullShared(nat, address, kept))
    nat.forwards.push({ ...common, proto: 'all', single: false, full: true, except: kept })
    const out = outInterfaces(external, family)
    const back = { family, exempt: false, out, to: address, rule: nat }
    nat.egresses.push({ ...back, source: { ranges: [inner] }, destination: ANY })
  }
  return said
}

function fullShared(nat: NatRule, address: Range, kept: Forward['except']): Diagnostic {
  const ports = kept.map(({ proto, ports: one }) => `${formatPorts(one ? [one] : [])}/${proto}`).join(', ')
  const vmid = nat.scope.kind === 'guest' ? String(nat.scope.guest.vmid) : 'VMID'
  return diagnose('full-shared', nat.where, { ports, address: formatRange(address), vmid })
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
