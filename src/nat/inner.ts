/** The inner address of a forward and the own addresses of a guest. */
import { contains, FAMILIES, formatRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { Guest, Nic } from '../guest/model.ts'
import type { NatComment } from './comment.ts'
import type { Marked } from './marked.ts'
import { resolveHost, type NameScope } from './match.ts'
import type { View } from './view.ts'

export type PerFamily<T> = Partial<Record<Family, T>>

/** Where a forward leads: `to=`, the rule's destination, else what is known of the guest. */
export function innerAddresses(
  marked: Marked,
  comment: NatComment,
  names: NameScope,
  view: View,
): PerFamily<Range> | Diagnostic {
  const { rule, place, scope } = marked
  const destPlace = { file: place.file, span: rule.spans.dest ?? place.span }
  if (comment.to)
    return checkInternal({ [comment.to.family]: comment.to }, comment, comment.places.to ?? place, view)
  if (rule.dest !== undefined) {
    const host = resolveHost(rule.dest, names, destPlace)
    return 'code' in host ? host : checkInternal({ [host.family]: host }, comment, destPlace, view)
  }
  if (scope.kind !== 'guest') return diagnose('dest-missing', place, {})
  const nics = chooseNics(scope.guest, marked.iface)
  if (nics.length === 0)
    return diagnose('guest-nic', place, { guest: label(scope.guest), nic: marked.iface ?? 'NIC' })
  const known = knownAddresses(scope.guest, nics, view)
  if (Object.keys(known).length === 0) {
    const looked = `the settings and the ${scope.guest.type === 'lxc' ? 'network of the container' : 'cloud-init addresses of the VM'}`
    return diagnose('guest-address', place, {
      guest: label(scope.guest),
      nic: `net${nics[0]?.index}`,
      looked,
    })
  }
  return checkInternal(known, comment, comment.places.all, view)
}

/** Every address that is known of a guest, or of the NIC that the rule names. */
export function ownAddresses(guest: Guest, iface: string | undefined, view: View): Range[] {
  const set = view.settings.guests.get(guest.vmid)?.address
  const nics = chooseNics(guest, iface)
  const known = nics.flatMap((nic) => FAMILIES.flatMap((family) => nic.addresses[family]?.ip ?? []))
  return set ? [set, ...known] : known
}

/** `107 (db)`, as messages name a guest. */
export function label(guest: Guest): string {
  return `${guest.vmid} (${guest.name})`
}

/** Whether an address lies in a network of an external interface: what sits there answers past this node. */
export function inExternalNetwork(address: Range, view: View): string | undefined {
  if (view.network.internal.some(({ network }) => contains(network, address))) return undefined
  return view.network.external.find(({ networks }) => networks.some((network) => contains(network, address)))
    ?.name
}

function chooseNics(guest: Guest, iface: string | undefined): Nic[] {
  return iface === undefined ? guest.nics : guest.nics.filter((nic) => `net${nic.index}` === iface)
}

/** net0 first, then the first NIC on an internal network; the settings before both. */
function knownAddresses(guest: Guest, nics: readonly Nic[], view: View): PerFamily<Range> {
  const set = view.settings.guests.get(guest.vmid)?.address
  const known: PerFamily<Range> = {}
  for (const family of FAMILIES) {
    const ips = nics.flatMap((nic) => nic.addresses[family]?.ip ?? [])
    const ip =
      set?.family === family ? set : (ips.find((one) => inExternalNetwork(one, view) === undefined) ?? ips[0])
    if (ip) known[family] = ip
  }
  return known
}

function checkInternal(
  known: PerFamily<Range>,
  comment: NatComment,
  place: Marked['place'],
  view: View,
): PerFamily<Range> | Diagnostic {
  for (const address of Object.values(known)) {
    const bridge = inExternalNetwork(address, view)
    if (bridge !== undefined && !comment.snat) {
      return diagnose('guest-external', place, { address: formatRange(address), bridge })
    }
  }
  return known
}
