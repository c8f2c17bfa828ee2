/** What explain judges by, and who is who in it. */
import { contains, formatRange, sameRange, type Family, type Range } from '../address.ts'
import { ruleApi } from '../fixes.ts'
import type { NodeFacts } from '../facts.ts'
import { SOURCE_NAMES, type Nic } from '../guest/model.ts'
import type { NatRule } from '../nat/model.ts'
import type { Translation } from '../nat/translate.ts'
import type { InternalNetwork, OwnedGuest, View } from '../nat/view.ts'
import type { InForce } from '../ruleset/inforce.ts'
import type { Ruleset } from '../ruleset/model.ts'

export interface World {
  view: View
  translation: Translation
  /** What is wanted. */
  ruleset: Ruleset
  inForce: InForce
  facts: NodeFacts
  /** Text of the guests' configs, by VMID. */
  configs: ReadonlyMap<number, string>
}

/** One NIC of a guest of this node. */
export interface Plug {
  owned: OwnedGuest
  nic: Nic
}

export interface Located extends Plug {
  /** Who told that the address is the guest's. */
  from: string
}

/** The guest that has an address, and why it is believed to. */
export function guestAt({ view }: World, address: Range): Located | undefined {
  for (const owned of view.guests) {
    const known = view.known.get(owned.guest.vmid)
    for (const nic of owned.guest.nics) {
      const one = known?.nics.get(nic.index)?.[address.family]
      if (!one || !sameRange(one.ip, address)) continue
      const config = `the config of guest ${owned.guest.vmid} (net${nic.index})`
      return { owned, nic, from: one.from === 'config' ? config : SOURCE_NAMES[one.from] }
    }
    const [nic] = owned.guest.nics
    if (known?.set && nic && sameRange(known.set.ip, address))
      return { owned, nic, from: SOURCE_NAMES.settings }
  }
  return undefined
}

/** The interface of this node that has an address. */
export function ownInterface({ facts }: World, address: Range): string | undefined {
  return facts.addresses.find(({ ip }) => sameRange(ip, address))?.dev
}

export function internalAt({ view }: World, address: Range): InternalNetwork | undefined {
  return view.network.internal.find(({ network }) => contains(network, address))
}

export function externalAt({ view }: World, address: Range): string | undefined {
  return view.network.external.find(({ networks }) => networks.some((one) => contains(one, address)))?.name
}

/** The interface next to the guest, as Proxmox VE names it. */
export function tapName({ owned, nic }: Plug): string {
  return `${owned.guest.type === 'qemu' ? 'tap' : 'veth'}${owned.guest.vmid}i${nic.index}`
}

/** The guest's own bridge on the wire, between it and the node's: there are the hooks of pve-firewall. */
export function firewallBridge({ facts }: World, { owned, nic }: Plug): string | undefined {
  const name = `fwbr${owned.guest.vmid}i${nic.index}`
  return facts.links.some((link) => link.name === name) ? name : undefined
}

/** `guest 107 (db)`. */
export function guestName({ owned: { guest } }: Plug): string {
  return `guest ${guest.vmid} (${guest.name})`
}

/** `107.fw:9`. */
export function placeOf({ place }: NatRule): string {
  return `${place.file.replace(/^.*\//, '')}:${place.span.line}`
}

export function ruleById({ translation }: World, id: string | undefined): NatRule | undefined {
  return translation.rules.find((rule) => rule.id === id)
}

/** The rule in the API. */
export function apiOf({ view }: World, { place }: NatRule): string | undefined {
  return ruleApi(view, place.file, place.span.line)
}

/** The addresses of an interface of the node. */
export function addressesOn({ view, facts }: World, dev: string, family: Family): Range[] {
  const chosen = [
    ...view.network.external.filter(({ name }) => name === dev).flatMap(({ addresses }) => addresses),
    ...view.network.internal.filter(({ bridge }) => bridge === dev).map(({ address }) => address),
  ].filter((address) => address.family === family)
  return chosen.length > 0
    ? chosen
    : facts.addresses.filter((one) => one.dev === dev && one.ip.family === family).map(({ ip }) => ip)
}

export function host(family: Family, address: bigint): Range {
  return { family, lo: address, hi: address }
}

export const show = formatRange

export function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
