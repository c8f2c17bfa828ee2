/** The inner address of a forward. */
import { FAMILIES, formatRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { label, type Guest } from '../guest/model.ts'
import { fieldPlace } from './marked.ts'
import { resolveHost } from './match.ts'
import type { Order } from './order.ts'
import { addressUnknown, chooseNics, inExternalNetwork, knownAddresses } from './own.ts'
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
    return 'code' in host ? host : checkInternal({ [host.family]: host }, destPlace, order)
  }
  if (scope.kind !== 'guest') return diagnose('dest-missing', place, {})
  const { guest } = scope
  if (chooseNics(guest, iface).length === 0)
    return diagnose('guest-nic', place, { guest: label(guest), nic: iface ?? 'NIC' })
  const known = firstKnown(guest, iface, view)
  if (Object.keys(known).length === 0) return addressUnknown(guest, iface, place, view)
  return checkInternal(known, comment.places.all, order)
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
      return diagnose('guest-external', place, { address: ip, bridge, granted })
    }
  }
  return known
}
