/** Rules as the GUI takes them. */
import { contains, formatRange, isPrivate, sameRange, type Range } from '../address.ts'
import { quoted } from '../facts/fixes.ts'
import type { Guest } from '../guest/guest.ts'
import { ownAddresses } from '../nat/guest-addresses.ts'
import { CLUSTER_FW, guestFw, hostFw, type View } from '../nat/view.ts'
import { inwardTo, type Network } from '../network.ts'
import { formatPorts, type PortRange } from '../ports.ts'
import type { Written } from './foreign-rule.ts'

/** A rule as the GUI takes it. */
export interface GuiRule {
  /** The .fw file, relative to the pve directory. */
  file: string
  /** The path of its rules in the API. */
  api: string
  vmid?: number
  type: 'in' | 'out'
  source?: string
  dest?: string
  proto?: string
  dport?: string
  comment: string
}

/** `deadBehind`: the earlier rule that lets no packet through to this one. */
export type Becomes = { rule: GuiRule } | { builtIn: string } | { stays: string; deadBehind?: Written }

/** `IN ACCEPT -p tcp -dport 22 # NAT 822`: the line of the .fw file. */
export function ruleLine({ type, source, dest, proto, dport, comment }: GuiRule): string {
  const fields = Object.entries({ source, dest, p: proto, dport }).flatMap(([name, value]) =>
    value === undefined ? [] : [`-${name} ${value}`],
  )
  return [type.toUpperCase(), 'ACCEPT', ...fields, '#', comment].join(' ')
}

/** What `pvesh` takes to create a rule. */
export function createWords(rule: GuiRule, enable: 0 | 1): string[] {
  const { api, type, comment } = rule
  const fields = (['source', 'dest', 'proto', 'dport'] as const).flatMap((name) => {
    const value = rule[name]
    return value === undefined ? [] : [`--${name}`, value]
  })
  return [
    'create',
    api,
    '--type',
    type,
    '--action',
    'ACCEPT',
    ...fields,
    '--enable',
    `${enable}`,
    '--comment',
    comment,
  ]
}

/** A line for a shell that creates a rule, switched off. */
export function createCommand(rule: GuiRule): string {
  return ['pvesh', ...createWords(rule, 0).map(quoted)].join(' ')
}

export const stays = (reason: string): Becomes => ({ stays: reason })

/** As pve-firewall writes ports. */
export function fieldOf(ports: readonly PortRange[]): string {
  return formatPorts(ports).replaceAll('-', ':')
}

/** An address of the node on another interface, or of a subnet that is routed here. */
export function isCarried(address: Range, network: Network): boolean {
  return network.own.some(({ ip }) => sameRange(ip, address)) || inwardTo(network, address) !== undefined
}

export function isInternal(range: Range, { network }: View): boolean {
  return network.internal.some((one) => contains(one.network, range))
}

/** The same rule in the hands of the administrator, who may do what a guest may not. `address`: the guest's. */
export function asNodeRule(
  { type, source, dest, proto, dport, comment }: GuiRule,
  address: Range,
  view: View,
): GuiRule {
  const fields = Object.entries({ source, dest, proto, dport }).filter(([, value]) => value !== undefined)
  return {
    type,
    comment,
    ...Object.fromEntries(fields),
    ...ofNode(view),
    [type === 'in' ? 'dest' : 'source']: formatRange(address),
  }
}

/** The guest's own rules, where the address is that of a guest of this node; else the node's. */
export function leadingTo(inner: Range, view: View): Pick<GuiRule, 'file' | 'api' | 'vmid' | 'dest'> {
  const owner = ownerOf(inner, view)
  if (!owner) return { ...ofNode(view), dest: formatRange(inner) }
  return { ...ofGuest(owner.guest, view), ...(owner.isOnly ? {} : { dest: formatRange(inner) }) }
}

/** The guest of this node that has an address, and whether it is its only one of the family. */
function ownerOf(address: Range, view: View): { guest: Guest; isOnly: boolean } | undefined {
  for (const { guest } of view.guests) {
    const own = ownAddresses(guest, undefined, view).filter(({ family }) => family === address.family)
    if (own.some((ip) => sameRange(ip, address))) return { guest, isOnly: own.length === 1 }
  }
  return undefined
}

function ofGuest({ vmid, type }: Guest, { node }: View): Pick<GuiRule, 'file' | 'api' | 'vmid'> {
  return { file: guestFw(vmid), api: `/nodes/${node}/${type}/${vmid}/firewall/rules`, vmid }
}

/** On a node alone the datacenter's rules are the ones that everybody knows. */
export function ofNode({ node, isClustered }: View): Pick<GuiRule, 'file' | 'api'> {
  return isClustered
    ? { file: hostFw(node), api: `/nodes/${node}/firewall/rules` }
    : { file: CLUSTER_FW, api: '/cluster/firewall/rules' }
}

/** The guest's own rules, where the source is a guest of this node; else the node's. */
export function goingOut(source: Range, view: View): Pick<GuiRule, 'file' | 'api' | 'vmid' | 'source'> {
  const owner = ownerOf(source, view)
  if (!owner) return { ...ofNode(view), source: formatRange(source) }
  // A public IPv6 address is translated only where the rule names it, and a rule without a source is for both families.
  const isOnly = ownAddresses(owner.guest, undefined, view).length === 1
  const isMeant = isOnly && (source.family === 4 || isPrivate(source))
  return { ...ofGuest(owner.guest, view), ...(isMeant ? {} : { source: formatRange(source) }) }
}
