/**
 * Answers of several uplinks, each by the uplink by which its connection came (measured on kernel 6.18): a mark by the address that
 * the client called, a table for each uplink, and two routing rules that lead marked packets there.
 *
 *   mangle PREROUTING, OUTPUT   --ctdir REPLY --ctorigdst ADDRESS -j MARK --set-xmark MARK/MASK
 *   ip rule   PREFERENCE        fwmark MARK/MASK lookup main, without default routes: networks of guests, bridged answers
 *   ip rule   PREFERENCE + 1    fwmark MARK/MASK lookup TABLE
 *   ip route  TABLE             default via the uplink's gateway, and behind it `unreachable`: without a link nothing leaks
 *
 * The connmark would do the same with less, but it is Proxmox VE's.
 */
import { FAMILIES, type Family, type Range } from '../address.ts'
import type { Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import { OWN_PROTOCOL, type Way } from '../uplinks.ts'
import type { View } from '../nat/view.ts'
import type { Chain, Routing, Rule, Ruleset } from './model.ts'

/** An uplink of which answers are marked. */
interface MarkedUplink {
  name: string
  mark: number
  table: number
  /** Addresses that clients call. */
  addresses: readonly Range[]
  way: Way
}

/** The id under which the kernel's refusal of all this is kept. */
export const UPLINKS = 'uplinks'

/** What leads answers back, of the families of which anything is wanted; nothing of a family that does not need it, or in which it collides. */
export function answersByUplink(
  view: Seen & Pick<View, 'quarantined'>,
  wanted: readonly Family[],
): Pick<Ruleset, 'routing' | 'loose'> & { marks: Record<Family, Chain[]> } {
  const marked = (family: Family): MarkedUplink[] => {
    const isOff = !wanted.includes(family) || view.quarantined.has(UPLINKS)
    return isOff || uplinkCollision(view, family) !== undefined ? [] : markedUplinks(view, family)
  }
  const all = { 4: marked(4), 6: marked(6) }
  const { mask } = view.settings.uplinkMark
  const main = view.network.way[4]?.dev
  return {
    marks: { 4: uplinkChains(all[4], mask), 6: uplinkChains(all[6], mask) },
    routing: { 4: uplinkRouting(all[4], view, 4), 6: uplinkRouting(all[6], view, 6) },
    loose: all[4].map(({ name }) => name).filter((name) => name !== main),
  }
}

/** The uplinks of which answers are marked; none when every answer finds its way without. */
export function markedUplinks({ network, settings }: Seen, family: Family): MarkedUplink[] {
  const { uplinkMark: mark, uplinkTable: table } = settings
  const found = network.external.flatMap(({ name, addresses, uplink }): MarkedUplink[] => {
    const own = addresses.filter((address) => address.family === family)
    const way = uplink?.ways[family]
    const value = uplink && markOf(uplink.index, mark)
    if (own.length === 0 || !way || value === undefined) return []
    return [{ name, mark: value, table: table + uplink.index, addresses: own, way }]
  })
  const main = network.way[family]?.dev
  const [only] = found
  return only && found.length === 1 && (main === undefined || main === only.name) ? [] : found
}

interface Seen {
  network: Network
  settings: Pick<Settings, 'uplinkMark' | 'uplinkTable' | 'uplinkPreference'>
}

/** The mark of the uplink with this number; undefined when the mask has no room for it. */
function markOf(index: number, { first, mask }: Settings['uplinkMark']): number | undefined {
  const step = mask & -mask
  const value = first + index * step
  return (value & ~mask) === 0 && value <= mask ? value : undefined
}

/** Why answers of several uplinks cannot be marked: somebody else uses the marks or the tables. */
function uplinkCollision(seen: Seen, family: Family): string | undefined {
  const { network, settings } = seen
  const marked = markedUplinks(seen, family)
  const theirs = network.foreign?.[family]
  if (marked.length === 0 || !theirs) return undefined
  const { mask } = settings.uplinkMark
  const rule = theirs.rules.find(({ mark }) => mark && usesBits(mark, mask))
  if (rule) return `a routing rule with preference ${rule.priority} matches marks of ${hex(mask)}`
  const table = marked.find((one) => theirs.tables.includes(String(one.table)))?.table
  if (table !== undefined) return `table ${table} is in use`
  return preference(seen, family) < 1
    ? 'a routing rule with preference 1 or 2 leads every packet to another table'
    : undefined
}

/** The facts that keep answers from the uplink by which their connections came, in a sentence each. */
export function uplinkTroubles(view: Seen & Pick<View, 'quarantined'>): string[] {
  const refusal = view.quarantined.get(UPLINKS)
  if (refusal !== undefined)
    return [`Answers leave by the default route alone, for the kernel refuses: ${refusal}.`]
  const all = FAMILIES.flatMap((family) => {
    const collision = uplinkCollision(view, family)
    if (collision !== undefined)
      return [`IPv${family} answers leave by the default route alone: ${collision}.`]
    const marked = markedUplinks(view, family)
    const down = marked.filter(({ way }) => way.down)
    return [
      ...down.map(({ name }) => `Uplink ${name} is down; answers to its clients wait.`),
      ...withoutGateway(view, family).map(
        (name) =>
          `No IPv${family} gateway of ${name} is known, so answers to its clients leave by the default route.`,
      ),
    ]
  })
  return [...new Set(all)]
}

/** External interfaces whose clients are answered by another one, because nobody tells their gateway. */
function withoutGateway({ network }: Seen, family: Family): string[] {
  const main = network.way[family]?.dev
  return network.external
    .filter(({ name, uplink, addresses }) => {
      const isCalled = addresses.some((address) => address.family === family)
      return isCalled && uplink && !uplink.ways[family] && main !== undefined && main !== name
    })
    .map(({ name }) => name)
}

/** A rule for all bits (wg-quick) uses those of its value; one with a mask all bits of the mask. */
function usesBits({ mark, mask }: { mark: number; mask: number }, own: number): boolean {
  return ((mask === 0xffffffff ? mark : mask) & own) !== 0
}

/** The preference of the first of our two rules: as set, or in front of rules of others that would take marked answers. */
function preference({ network, settings }: Seen, family: Family): number {
  const rules = network.foreign?.[family].rules ?? []
  const taking = rules.filter(({ takesAnswers }) => takesAnswers).map(({ priority }) => priority - 2)
  return Math.min(settings.uplinkPreference, ...taking)
}

/** Shorter prefixes of the table main are default routes and their halves (OpenVPN's). */
const DEFAULT_LENGTH = { 4: 1, 6: 4 } as const
const ROUTE_METRIC = 1024
/** The kernel's least urgent metric but some; behind every default route. */
const UNREACHABLE_METRIC = 4278198272

function uplinkRouting(marked: readonly MarkedUplink[], seen: Seen, family: Family): Routing {
  const first = preference(seen, family)
  const { mask } = seen.settings.uplinkMark
  return {
    rules: marked.flatMap(({ mark, table }) => {
      const fwmark = `fwmark ${hex(mark)}/${hex(mask)}`
      return [
        `priority ${first} ${fwmark} table ${MAIN} suppress_prefixlength ${DEFAULT_LENGTH[family]} protocol ${OWN_PROTOCOL}`,
        `priority ${first + 1} ${fwmark} table ${table} protocol ${OWN_PROTOCOL}`,
      ]
    }),
    routes: marked.flatMap(({ name, table, way: { gateway, onlink, mtu, down } }) => {
      const by = [
        'default',
        ...(gateway === undefined ? [] : [`via ${gateway}`]),
        `dev ${name}`,
        ...(onlink ? ['onlink'] : []),
        ...(mtu === undefined ? [] : [`mtu ${mtu}`]),
      ]
      const rest = `table ${table} proto ${OWN_PROTOCOL}`
      return [
        ...(down ? [] : [`${by.join(' ')} metric ${ROUTE_METRIC} ${rest}`]),
        `unreachable default metric ${UNREACHABLE_METRIC} ${rest}`,
      ]
    }),
  }
}

/** The number of the table main. */
const MAIN = 254

/** A mark as `ip` writes it. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`
}

/** From so many addresses on, packets that are no answers of forwards are kept from walking past all of them. */
const GATED = 3

function uplinkChains(marked: readonly MarkedUplink[], mask: number): Chain[] {
  const rules = marked.flatMap(({ addresses, mark }) =>
    addresses.map((address): Rule => ({
      direction: 'REPLY',
      originalDestination: address,
      target: { kind: 'mark', mark, mask },
    })),
  )
  if (rules.length === 0) return []
  if (rules.length < GATED) return ROOTS.map(({ name }): Chain => ({ table: 'mangle', name, rules }))
  const way = { kind: 'jump', chain: ANSWERS } as const
  return [
    { table: 'mangle', name: ANSWERS, rules },
    ...ROOTS.map(({ name, gate }): Chain => ({ table: 'mangle', name, rules: [{ ...gate, target: way }] })),
  ]
}

const ANSWERS = 'PVENAT-ANSWERS'

/** Answers of guests, which are answers of forwards, and those of the node's own services. */
const ROOTS = [
  { name: 'PVENAT-UPLINK', gate: { state: 'DNAT', direction: 'REPLY' } },
  { name: 'PVENAT-NODE', gate: { direction: 'REPLY' } },
] as const
