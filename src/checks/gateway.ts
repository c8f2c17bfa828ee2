/** Guests that send past this node, to the gateway of somebody else. */
import {
  contains,
  FAMILIES,
  formatRange,
  isLinkLocal6,
  sameRange,
  type Family,
  type Range,
} from '../address.ts'
import { placeName } from '../diagnostic.ts'
import { gatewayCommand, quoted, ruleApi, withOption } from '../facts/fixes.ts'
import { bridgeNetfilter } from '../facts/node-facts.ts'
import { gatewayOf, label, type Nic, type Plugged } from '../guest/guest.ts'
import { ownAddresses } from '../nat/guest-addresses.ts'
import type { Forward, NatRule, Scope } from '../nat/nat-rule.ts'
import { snatNeeds } from '../nat/policy.ts'
import { ruleOut } from '../nat/sources.ts'
import type { View } from '../nat/view.ts'
import { dotted } from '../sysctls.ts'
import { capital, type Check, type Finding, type Patient } from './finding.ts'
import { configOf, plugged } from './guests.ts'

type Does = 'sends' | 'answers'

interface PastNode {
  /** The NIC by which it sends, and the gateway there. */
  nic: Nic
  gateway: Range
  /** Its answers cross a bridge outside, where they are translated back while bridged packets meet iptables. */
  isBridged: boolean
  /** `guest 105 (web) sends by net0 to 10.10.10.254, past this node, so …`. */
  sentence: string
}

/**
 * By which way a guest sends past this node what leaves its network. Undefined where it sends to this node, and where that is not known: a
 * router among the guests may well send it here, and a link-local address is on every link.
 */
export function pastNode(
  { network }: Pick<View, 'network'>,
  isGuests: (address: Range) => boolean,
  { guest, nic }: Plugged,
  family: Family,
  does: Does,
): PastNode | undefined {
  const way = gatewayOf(guest, nic, family)
  const { own } = network
  if (!way || own.length === 0 || own.some(({ ip }) => sameRange(ip, way.gateway))) return undefined
  if (isLinkLocal6(way.gateway) || isGuests(way.gateway)) return undefined
  const isBridged =
    does === 'answers' && way.nic !== nic && network.external.some(({ name }) => name === way.nic.bridge)
  const so = isBridged
    ? `so its answers are translated back only while ${dotted(bridgeNetfilter(family))} is 1`
    : 'so nothing is translated on that way'
  const by = `by net${way.nic.index} to ${formatRange(way.gateway)}, past this node`
  return { ...way, isBridged, sentence: `guest ${label(guest)} sends ${by}, ${so}` }
}

/** Whether a guest of this node is known to have an address. */
export function isOfGuest(view: View, address: Range): boolean {
  return view.guests.some(({ guest }) =>
    ownAddresses(guest, undefined, view).some((one) => sameRange(one, address)),
  )
}

/** The setting that snat=1 in rules of these scopes needs, in brackets; '' when they need none. */
export function withSetting(view: View, scopes: readonly Scope[]): string {
  const needs = scopes.map((scope) => snatNeeds(scope, view)).find((one) => one !== undefined)
  return needs === undefined ? '' : ` (with ${needs} in pvenat.conf)`
}

interface WayBack {
  /** Makes this node the gateway; undefined where that would take away another way out, or compete with it. */
  gateway: string | undefined
  /** Gives snat=1 to the forwards that may have it. */
  snat: string[]
  /** The same in words. */
  advice: string
}

/** What makes answers of a guest, or what it sends, come to this node. `own`: its address; `shown`: rules that show their clients to it. */
export function wayBack(
  { view, translation, configs }: Pick<Patient, 'view' | 'translation' | 'configs'>,
  { guest, nic }: Plugged,
  own: Range,
  shown: readonly NatRule[],
): WayBack {
  const { family } = own
  const inner = view.network.internal.find(({ network }) => contains(network, own))?.address
  const goesOut = ruleOut(translation.rules, own) !== undefined
  const isAlone = (gatewayOf(guest, nic, family)?.nic ?? nic) === nic
  const granted = withSetting(
    view,
    shown.map(({ scope }) => scope),
  )
  const hide = `with snat=1 in the comment of its forwards it answers this node${granted}`
  const lead = `make this node its gateway${goesOut ? '' : ', with an OUT rule that is marked NAT'}`
  return {
    gateway:
      goesOut && isAlone && inner
        ? gatewayCommand(guest, nic, family, configs.get(guest.vmid) ?? '', inner)
        : undefined,
    snat: shown
      .filter(({ scope }) => snatNeeds(scope, view) === undefined)
      .flatMap(({ place, comment }) => {
        const api = ruleApi(view, place.file, place.span.line)
        return api === undefined
          ? []
          : [`pvesh set ${api} --comment ${quoted(withOption(comment, 'snat=1'))}`]
      }),
    advice: shown.length > 0 ? `${hide}; or ${lead}` : lead,
  }
}

/** The active rules with a forward of a protocol, or of any, to an address that shows it the clients. */
export function shownClients(rules: readonly NatRule[], address: Range, proto?: string): NatRule[] {
  const isMeant = (one: Forward): boolean => proto === undefined || ['all', proto].includes(one.proto)
  return rules.filter(
    ({ state, forwards }) =>
      state === 'active' &&
      forwards.some((one) => !one.snat && sameRange(one.inner, address) && isMeant(one)),
  )
}

export const gatewayElsewhere: Check = (patient) =>
  plugged(patient).flatMap((plug) =>
    FAMILIES.flatMap((family) => gatewayFinding(patient, plug, family) ?? []),
  )

function gatewayFinding(patient: Patient, plug: Plugged, family: Family): Finding | undefined {
  const { view, translation } = patient
  const own = plug.nic.addresses[family]?.ip
  const inner = own && view.network.internal.find(({ network }) => contains(network, own))?.address
  if (!own || !inner) return undefined
  const shown = shownClients(translation.rules, own)
  const out = ruleOut(translation.rules, own)
  const rule = shown[0] ?? out
  const isGuests = (address: Range): boolean => isOfGuest(view, address)
  const past = pastNode(view, isGuests, plug, family, out ? 'sends' : 'answers')
  if (!rule || !past) return undefined
  const { gateway, snat, advice } = wayBack(patient, plug, own, shown)
  return {
    id: 'guest-gateway',
    severity: 'error',
    finding: `${capital(past.sentence)}.`,
    restsOn: [
      `${configOf({ guest: plug.guest, nic: past.nic })}: ${formatRange(past.gateway)}`,
      `${formatRange(inner)} is this node's address there`,
      placeName(rule.place),
    ],
    fix: gateway === undefined ? snat : [gateway],
    why: `${capital(advice)}.`,
  }
}
