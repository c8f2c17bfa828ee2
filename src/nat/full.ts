/** full=1, 1:1 NAT: what arrives at an external address goes to the guest, and what the guest sends leaves as that address. */
import { formatRange, sameRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { NatComment } from './comment.ts'
import { outInterfaces, type External } from './external.ts'
import type { Marked } from './marked.ts'
import { ANY } from './match.ts'
import type { Forward, NatRule } from './model.ts'
import { nodePorts } from './policy.ts'
import { formatPorts } from './template.ts'
import type { View } from './view.ts'

/** What is common to all forwards of a rule in one family. */
export type Common = Omit<Forward, 'proto' | 'single' | 'ports' | 'innerPort' | 'sport'>

/** Fills `rule.forwards` and `rule.egresses`. */
export function translateFull(
  rule: NatRule,
  commons: readonly Common[],
  marked: Marked,
  comment: NatComment,
  external: External,
  view: View,
  report: (diagnostic: Diagnostic) => void,
): void {
  const problem = checkOptions(marked, comment)
  if (problem) return report(problem)
  for (const common of commons) {
    const { family, inner } = common
    const [address] = common.external
    if (!address) continue
    const kept = nodePorts(rule, address, isMain(address, family, external), view)
    if ('code' in kept) return report(kept)
    if (kept.length > 0) {
      const ports = kept
        .map(({ proto, ports: one }) => `${formatPorts(one ? [one] : [])}/${proto}`)
        .join(', ')
      const vmid = rule.scope.kind === 'guest' ? String(rule.scope.guest.vmid) : 'VMID'
      report(diagnose('full-shared', rule.where, { ports, address: formatRange(address), vmid }))
    }
    rule.forwards.push({ ...common, proto: 'all', single: false, full: true, except: kept })
    const out = outInterfaces({ ...external, addresses: [address] }, family)
    rule.egresses.push({
      family,
      exempt: false,
      source: { ranges: [inner] },
      destination: ANY,
      out,
      to: address,
      rule,
    })
  }
}

/** The address by which the node itself is known: the first of its interface. */
function isMain(address: Range, family: Family, { interfaces }: External): boolean {
  return interfaces.some(({ addresses }) => {
    const first = addresses.find((one) => one.family === family)
    return first !== undefined && sameRange(first, address)
  })
}

function checkOptions({ rule }: Marked, { endpoint, places }: NatComment): Diagnostic | undefined {
  const conflict = (reason: string): Diagnostic =>
    diagnose('option-conflict', places.full ?? places.all, { reason })
  if (!endpoint?.address) return conflict('full=1 needs the external address: NAT 203.0.113.7 full=1')
  if (endpoint.ports) return conflict('full=1 forwards every port; write the address alone')
  const { proto, macro, sport, dport } = rule
  if (proto ?? macro ?? sport ?? dport)
    return conflict('full=1 forwards everything; clear protocol, ports and macro of the rule')
  return undefined
}
