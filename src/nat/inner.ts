/** The inner address of a forward and the own addresses of a guest. */
import { contains, FAMILIES, formatRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { SOURCE_NAMES, type AddressSource, type Guest, type Known, type Nic } from '../guest/model.ts'
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
  if (chooseNics(scope.guest, marked.iface).length === 0)
    return diagnose('guest-nic', place, { guest: label(scope.guest), nic: marked.iface ?? 'NIC' })
  const known = firstKnown(scope.guest, marked.iface, view)
  if (Object.keys(known).length === 0) return addressUnknown(scope.guest, marked.iface, place, view)
  return checkInternal(known, comment, comment.places.all, view)
}

/** What is known of the addresses of a guest, or of the NIC that the rule names: the settings first, then net0 and so on. */
function knownAddresses(guest: Guest, iface: string | undefined, view: View): Known[] {
  const known = view.known.get(guest.vmid)
  const ofNics = chooseNics(guest, iface).flatMap((nic) => Object.values(known?.nics.get(nic.index) ?? {}))
  return known?.set ? [known.set, ...ofNics] : ofNics
}

/** As `knownAddresses`, without who told them. */
export function ownAddresses(guest: Guest, iface: string | undefined, view: View): Range[] {
  return knownAddresses(guest, iface, view).map(({ ip }) => ip)
}

/** The own addresses that somebody wrote down for the guest: it has no others. Leases and neighbours come and go. */
export function writtenAddresses(guest: Guest, view: View): Range[] {
  const written: readonly AddressSource[] = ['settings', 'config', 'ipfilter', 'ipam']
  return knownAddresses(guest, undefined, view)
    .filter(({ from }) => written.includes(from))
    .map(({ ip }) => ip)
}

/** Every address that anything ties to the guest, even what does not count as its own. */
export function seenAddresses(guest: Guest, view: View): Range[] {
  return view.known.get(guest.vmid)?.seen ?? []
}

/** Says where addresses were looked for, and what was found there that does not count. */
export function addressUnknown(
  guest: Guest,
  iface: string | undefined,
  place: Place,
  view: View,
): Diagnostic {
  const nics = chooseNics(guest, iface)
  const [only, ...more] = nics
  const nic = iface ?? (only && more.length === 0 ? `net${only.index}` : 'any NIC')
  const refused = (view.known.get(guest.vmid)?.refused ?? []).filter((one) =>
    nics.some(({ index }) => index === one.nic),
  )
  return diagnose('guest-address', place, {
    guest: label(guest),
    nic,
    looked: listed([...ALWAYS, ...view.consulted].map(nameOf)),
    refused: refused
      .slice(0, MAX_REFUSED)
      .map(({ ip, from, why }) => `${formatRange(ip)} of ${nameOf(from)} does not count: ${why}`),
  })

  function nameOf(source: AddressSource): string {
    if (source === 'config')
      return guest.type === 'lxc' ? 'the network of the container' : 'the cloud-init addresses of the VM'
    return source === 'ipfilter'
      ? `ipset ipfilter-${only && nic !== 'any NIC' ? nic : 'netN'}`
      : SOURCE_NAMES[source]
  }
}

/** More would bury the message. */
const MAX_REFUSED = 3

/** Asked whether there is anything to ask or not. */
const ALWAYS: readonly AddressSource[] = ['settings', 'config', 'ipfilter']

function listed(items: readonly string[]): string {
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
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
