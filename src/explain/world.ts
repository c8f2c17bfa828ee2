/** What explain judges by, and who is who in it. */
import { contains, sameRange, type Range } from '../address.ts'
import { placeName } from '../diagnostic.ts'
import type { NodeFacts } from '../facts/node-facts.ts'
import { ruleApi } from '../facts/fixes.ts'
import { label, SOURCE_NAMES, type Plugged } from '../guest/guest.ts'
import type { NatRule } from '../nat/nat-rule.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import type { InternalNetwork } from '../network.ts'
import type { Installed } from '../ruleset/installed.ts'
import type { Ruleset } from '../ruleset/ruleset.ts'

export interface World {
  view: View
  translation: Translation
  /** What is wanted. */
  ruleset: Ruleset
  installed: Installed
  facts: NodeFacts
  /** Text of the guests' configs, by VMID. */
  configs: ReadonlyMap<number, string>
  /** The interface that `ip route get QUESTION` answers with, none where there is no way; undefined when it is not known yet. */
  askWay: (question: string) => { dev: string | undefined } | undefined
}

/** The NIC of a guest of this node that has an address. */
export interface Located extends Plugged {
  /** Who told that it is the guest's. */
  from: string
}

/** By which way a packet comes. */
export interface Sender {
  /** Undefined for the node's own. */
  in?: string
  guest?: Located
  /** It crosses this bridge and is not routed at all. */
  bridged?: string
}

/** The guest that has an address, and why it is believed to. */
export function guestAt({ view }: World, address: Range): Located | undefined {
  for (const owned of view.guests) {
    const known = view.known.get(owned.guest.vmid)
    for (const nic of owned.guest.nics) {
      const one = known?.nics.get(nic.index)?.[address.family]
      if (!one || !sameRange(one.ip, address)) continue
      const config = `the config of guest ${owned.guest.vmid} (net${nic.index})`
      return { ...owned, nic, from: one.from === 'config' ? config : SOURCE_NAMES[one.from] }
    }
    const [nic] = owned.guest.nics
    if (known?.set && nic && sameRange(known.set.ip, address))
      return { ...owned, nic, from: SOURCE_NAMES.settings }
  }
  return undefined
}

/** The guest whose config names an address that is nowhere on this node, and why it does not count. */
export function astrayAt({ view }: World, address: Range): { name: string; why: string } | undefined {
  for (const { guest } of view.guests) {
    const one = view.known
      .get(guest.vmid)
      ?.refused.find(({ ip, isAstray }) => isAstray && sameRange(ip, address))
    if (one) return { name: `guest ${label(guest)}`, why: one.why }
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

/** Whether an interface leads outside. */
export function isExternal({ view }: World, dev: string | undefined): boolean {
  return view.network.external.some(({ name }) => name === dev)
}

/** The external interface in whose network an address is. */
export function segmentOf({ view }: World, address: Range): string | undefined {
  return view.network.external.find(({ networks }) => networks.some((one) => contains(one, address)))?.name
}

/** `guest 107 (db)`. */
export function guestName({ guest }: Plugged): string {
  return `guest ${label(guest)}`
}

/** `107.fw:9`. */
export function placeOf({ place }: NatRule): string {
  return placeName(place)
}

/** What a rule asks for, as what a step rests on. */
export function asTyped(rule: NatRule): string {
  return `${placeOf(rule)}: ${rule.comment}`
}

export function ruleById({ translation }: World, id: string | undefined): NatRule | undefined {
  return translation.rules.find((rule) => rule.id === id)
}

/** The rule in the API. */
export function apiOf({ view }: World, { place }: NatRule): string | undefined {
  return ruleApi(view, place.file, place.span.line)
}
