/** The rights that a guest's rule asks for, by its text alone: whether or not the node could serve it now. */
import { FAMILIES, type Range } from '../address.ts'
import { isForwardable, pairedPorts } from './forward.ts'
import { fieldPlace } from './marked.ts'
import { resolveAddresses, resolveHost } from './match.ts'
import type { NatRule } from './nat-rule.ts'
import type { Order } from './order.ts'
import type { Ask } from './rights.ts'
import { templates } from './template.ts'

/** Of a rule that came to nothing because of the node. */
export function asksOf(order: Order): Ask[] {
  const { marked, comment, names } = order
  const { rule, scope } = marked
  if (scope.kind !== 'guest') return []
  const { vmid } = scope.guest
  const isOut = rule.type === 'out'
  const text = isOut ? rule.source : rule.dest
  const host = comment.to ?? (text === undefined ? undefined : resolveHost(text, names, marked.place))
  const inner = host && !('code' in host) ? [addressAsk(vmid, 'inner', host)] : []
  const address = comment.endpoint?.address
  if (isOut) return [...inner, ...(address ? [addressAsk(vmid, 'snat', address)] : [])]
  return [...inner, ...portAsks(order, vmid, address)]
}

function portAsks(order: Order, vmid: number, address: Range | undefined): Ask[] {
  const { marked, comment, names, view } = order
  const source = resolveAddresses(marked.rule.source, names, fieldPlace(marked, 'source'))
  if ('code' in source) return []
  return FAMILIES.flatMap((family): Ask[] => {
    const match = source[family]
    if (!match || (address && address.family !== family)) return []
    const claim = { vmid, source: match.key, address }
    if (comment.full) return [{ ...claim, proto: 'all', ports: undefined, source: 'any' }]
    const usable = templates(marked.rule, family, view.services).filter(isForwardable)
    const paired = pairedPorts(order, usable)
    if ('code' in paired) return []
    return [
      ...paired.bare.map((proto) => ({ ...claim, proto, ports: undefined })),
      ...paired.pairs.map(({ proto, external }) => ({ ...claim, proto, ports: external })),
    ]
  })
}

/** Of a rule that was translated; its forwards are asked for one by one. */
export function addressAsks({ scope, forwards, egresses }: NatRule): Ask[] {
  if (scope.kind !== 'guest') return []
  const { vmid } = scope.guest
  const hosts = egresses.flatMap(({ source }) =>
    source.ranges === 'any' ? [] : source.ranges.filter(({ lo, hi }) => lo === hi),
  )
  // The forwards of a rule share their addresses.
  const inner = new Set([...forwards.map((forward) => forward.inner), ...hosts])
  const own = forwards.some(({ full }) => full) ? [] : egresses
  const snat = new Set(own.flatMap(({ to }) => to ?? []))
  return [
    ...[...inner].map((address) => addressAsk(vmid, 'inner', address)),
    ...[...snat].map((address) => addressAsk(vmid, 'snat', address)),
  ]
}

function addressAsk(vmid: number, proto: 'inner' | 'snat', address: Range): Ask {
  return { vmid, proto, ports: undefined, source: 'any', address }
}
