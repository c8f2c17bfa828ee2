/** The external addresses and interfaces that a rule means. */
import { formatRange, sameRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { NatComment } from './comment.ts'
import type { Marked } from './marked.ts'
import type { ExternalInterface, Network } from './view.ts'

export interface External {
  /** Interfaces that come into question. */
  interfaces: ExternalInterface[]
  /** The one address that the comment names, or all of the interfaces. */
  addresses: Range[]
}

/** Everything external that fits the comment's address and `if=`, or the `-i` of a cluster or host rule. */
export function resolveExternal(
  comment: NatComment,
  iface: string | undefined,
  network: Network,
  { place, scope }: Marked,
): External | Diagnostic {
  const wanted = comment.if ?? iface
  const interfaces = network.external.filter(({ name }) => wanted === undefined || name === wanted)
  if (wanted !== undefined && interfaces.length === 0) {
    if (scope.kind === 'cluster') return diagnose('elsewhere', comment.places.if ?? place, { what: wanted })
    const have = network.external.map(({ name }) => name).join(', ')
    return diagnose('interface-unknown', comment.places.if ?? place, { name: wanted, have })
  }
  const address = comment.endpoint?.address
  if (!address) return { interfaces, addresses: interfaces.flatMap(({ addresses }) => addresses) }
  const carriers = interfaces.filter(({ addresses }) => addresses.some((own) => sameRange(own, address)))
  if (carriers.length > 0) return { interfaces: carriers, addresses: [address] }
  const where = comment.places.address ?? place
  if (wanted !== undefined)
    return diagnose('interface-address', where, { name: wanted, address: formatRange(address) })
  if (scope.kind === 'cluster') return diagnose('elsewhere', where, { what: formatRange(address) })
  const have = network.external.flatMap(({ addresses }) => addresses.map(formatRange)).join(', ')
  return diagnose('external-unknown', where, { address: formatRange(address), have })
}

/** The interfaces by which packets of a family leave. */
export function outInterfaces({ interfaces }: External, family: Family): string[] {
  return interfaces.filter(({ families }) => families.includes(family)).map(({ name }) => name)
}
