/** The external addresses and interfaces that a rule means. */
import { formatRange, sameRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { ExternalInterface } from '../network.ts'
import type { Order } from './order.ts'

export interface External {
  /** Interfaces that come into question. */
  interfaces: ExternalInterface[]
  /** The one address that the comment names, or all of the interfaces. */
  addresses: Range[]
}

/** Everything external that fits the address and the interface that the rule names. */
export function resolveExternal({ nat, comment, view: { network } }: Order): External | Diagnostic {
  const { askedInterface: wanted, place, scope } = nat
  const interfaces = network.external.filter(({ name }) => wanted === undefined || name === wanted)
  if (wanted !== undefined && interfaces.length === 0) {
    const where = comment.places.if ?? place
    if (scope.kind === 'cluster') return diagnose('elsewhere', where, { what: wanted })
    const have = network.external.map(({ name }) => name).join(', ')
    return diagnose('interface-unknown', where, { name: wanted, have })
  }
  const address = comment.endpoint?.address
  if (!address) return { interfaces, addresses: interfaces.flatMap(({ addresses }) => addresses) }
  const carriers = interfaces.filter(({ addresses }) => addresses.some((own) => sameRange(own, address)))
  if (carriers.length > 0) return { interfaces: carriers, addresses: [address] }
  const where = comment.places.address ?? place
  const text = formatRange(address)
  if (wanted !== undefined) return diagnose('interface-address', where, { name: wanted, address: text })
  if (scope.kind === 'cluster') return diagnose('elsewhere', where, { what: text })
  const have = network.external.flatMap(({ addresses }) => addresses.map(formatRange)).join(', ')
  return diagnose('external-unknown', where, { address: text, have })
}

/** The interfaces by which packets of a family leave. */
export function outInterfaces({ interfaces }: External, family: Family): string[] {
  return interfaces.filter(({ families }) => families.includes(family)).map(({ name }) => name)
}
