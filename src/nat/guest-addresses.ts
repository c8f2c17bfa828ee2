/** The own addresses of a guest. */
import { contains, formatRange, network, type Range } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import {
  label,
  SOURCE_NAMES,
  wireName,
  type AddressSource,
  type Guest,
  type Known,
  type Nic,
  type Refused,
} from '../guest/guest.ts'
import type { View } from './view.ts'

/** What is known of the addresses of a guest, or of the NIC that the rule names: the settings first, then net0 and so on. */
export function knownAddresses(guest: Guest, iface: string | undefined, view: View): Known[] {
  const known = view.known.get(guest.vmid)
  const ofNics = chooseNics(guest, iface).flatMap((nic) => Object.values(known?.nics.get(nic.index) ?? {}))
  return known?.set ? [known.set, ...ofNics] : ofNics
}

/** As `knownAddresses`, without who told them. */
export function ownAddresses(guest: Guest, iface: string | undefined, view: View): Range[] {
  return knownAddresses(guest, iface, view).map(({ ip }) => ip)
}

/** Says where addresses were looked for, and what was found there that does not count. `typed`: the comment with room for the address. */
export function addressUnknown(
  guest: Guest,
  iface: string | undefined,
  place: Place,
  view: View,
  typed?: string,
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
    typed,
    mend: refused.length > 0 ? placeIn(nics, refused) : undefined,
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

/** Gives the node a way to the address that the config of a guest names and that is nowhere on this node. */
function placeIn(nics: readonly Nic[], refused: readonly Refused[]): string | undefined {
  const astray = refused.find(({ isAstray }) => isAstray)
  const nic = nics.find(({ index }) => index === astray?.nic)
  const own = astray && nic?.addresses[astray.ip.family]
  if (!own) return undefined
  if (nic.bridge === undefined) return `plug net${nic.index} into a bridge on which this node has an address`
  const around = network(own.ip.family, own.ip.lo, own.prefix)
  const isRouted = around.lo === around.hi && nic.tag === undefined
  const way = isRouted
    ? `tell this node the way: ip route add ${formatRange(own.ip)} dev ${nic.bridge}`
    : `give this node an address in ${formatRange(around)} on ${wireName(nic)}`
  return `${way}; or correct bridge, VLAN and address of net${nic.index}`
}

/** More would bury the message. */
const MAX_REFUSED = 3

/** Asked whether there is anything to ask or not. */
const ALWAYS: readonly AddressSource[] = ['settings', 'config', 'ipfilter']

function listed(items: readonly string[]): string {
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}

/** Whether an address lies in a network of an external interface: what sits there answers past this node. */
export function inExternalNetwork(address: Range, view: View): string | undefined {
  if (view.network.internal.some(({ network }) => contains(network, address))) return undefined
  return view.network.external.find(({ networks }) => networks.some((network) => contains(network, address)))
    ?.name
}

/**
 * The network of a guest on an external interface, where this node may be its gateway: the next hops of all routes lie elsewhere. As
 * text; undefined where there is none.
 */
export function sharedNetwork(addresses: readonly Range[], { network }: View): string | undefined {
  const around = network.external
    .flatMap(({ networks }) => networks)
    .find((one) => addresses.some((address) => contains(one, address)))
  const { nextHops } = network
  if (!around || nextHops.length === 0 || nextHops.some((hop) => contains(around, hop))) return undefined
  return formatRange(around)
}

/** The NIC that a rule names, else all of the guest. */
export function chooseNics(guest: Guest, iface: string | undefined): Nic[] {
  return iface === undefined ? guest.nics : guest.nics.filter((nic) => `net${nic.index}` === iface)
}
