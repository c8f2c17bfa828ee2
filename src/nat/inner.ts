/** The inner address of a forward. */
import { FAMILIES, formatRange, sameRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { label, type Guest } from '../guest/guest.ts'
import { partsOf, type NatComment } from './comment.ts'
import { fieldPlace } from './marked.ts'
import { resolveHost } from './match.ts'
import type { Order } from './order.ts'
import {
  addressUnknown,
  chooseNics,
  inExternalNetwork,
  knownAddresses,
  sharedNetwork,
} from './guest-addresses.ts'
import { renderComment } from './free-text.ts'
import type { View } from './view.ts'

export type PerFamily<T> = Partial<Record<Family, T>>

/** Where a forward leads: `to=`, the rule's destination, else what is known of the guest. */
export function innerAddresses(order: Order): PerFamily<Range> | Diagnostic {
  const { marked, comment, names, view } = order
  const { rule, place, scope, iface } = marked
  if (comment.to) return checkInternal({ [comment.to.family]: comment.to }, comment.places.to ?? place, order)
  if (rule.dest !== undefined) {
    const destPlace = fieldPlace(marked, 'dest')
    const host = resolveHost(rule.dest, names, destPlace)
    if ('code' in host) return host
    return nodesOwn(host, destPlace, order) ?? checkInternal({ [host.family]: host }, destPlace, order)
  }
  if (scope.kind !== 'guest') return diagnose('dest-missing', place, { typed: withInner(comment) })
  const { guest } = scope
  if (chooseNics(guest, iface).length === 0)
    return diagnose('guest-nic', place, { guest: label(guest), nic: iface ?? 'NIC' })
  const known = firstKnown(guest, iface, view)
  if (Object.keys(known).length === 0) return addressUnknown(guest, iface, place, view, withInner(comment))
  return checkInternal(known, comment.places.all, order)
}

/** A destination that is where connections arrive, not where they are to go. */
function nodesOwn(host: Range, place: Place, { comment, view }: Order): Diagnostic | undefined {
  if (!view.network.external.some(({ addresses }) => addresses.some((one) => sameRange(one, host))))
    return undefined
  const address = formatRange(host)
  return diagnose('dest-external', place, { address, meant: renderComment({ ...partsOf(comment), address }) })
}

/** The comment with room for the inner address. */
function withInner(comment: NatComment): string {
  return renderComment(partsOf({ ...comment, options: [...comment.options, 'to=ADDRESS'] }))
}

/** Per family: the settings; net0, then the first NIC on an internal network. */
function firstKnown(guest: Guest, iface: string | undefined, view: View): PerFamily<Range> {
  const all = knownAddresses(guest, iface, view)
  const first: PerFamily<Range> = {}
  for (const family of FAMILIES) {
    const ofFamily = all.filter(({ ip }) => ip.family === family)
    const one =
      ofFamily.find(({ ip, from }) => from === 'settings' || inExternalNetwork(ip, view) === undefined) ??
      ofFamily[0]
    if (one) first[family] = one.ip
  }
  return first
}

function checkInternal(
  known: PerFamily<Range>,
  place: Place,
  { comment, view, marked: { scope } }: Order,
): PerFamily<Range> | Diagnostic {
  for (const address of Object.values(known)) {
    const bridge = inExternalNetwork(address, view)
    if (bridge !== undefined && !comment.snat) {
      const ip = formatRange(address)
      const granted =
        scope.kind === 'guest'
          ? ` (with [guest ${scope.guest.vmid}] snat = yes and address = ${ip} in pvenat.conf)`
          : ''
      const meant = renderComment(partsOf({ ...comment, options: [...comment.options, 'snat=1'] }))
      return diagnose('guest-external', place, {
        address: ip,
        bridge,
        granted,
        meant,
        network: sharedNetwork([address], view),
      })
    }
  }
  return known
}
