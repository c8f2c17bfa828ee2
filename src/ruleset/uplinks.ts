/**
 * Answers of several uplinks, each by the uplink by which its connection came (measured on kernel 6.18): a mark by the address that
 * the client called, a table for each uplink, and two routing rules that lead marked packets there.
 *
 *   mangle PREROUTING, OUTPUT   --ctdir REPLY --ctorigdst ADDRESS -j MARK --set-xmark MARK/MASK
 *   mangle PREROUTING           guests' packets that leave by another uplink than the default route's, and those of connections that have the
 *                               address of an uplink as their source already: they stay there, also when their rule goes (and active FTP needs it)
 *   ip rule   PREFERENCE        fwmark MARK/MASK lookup main, without default routes: networks of guests, bridged answers
 *   ip rule   PREFERENCE + 1    fwmark MARK/MASK lookup TABLE
 *   ip route  TABLE             default via the uplink's gateway, and behind it `unreachable`: without a link nothing leaks
 *
 * The connmark would do the same with less, but it is Proxmox VE's.
 */
import { contains, FAMILIES, parseIp, type Family, type Range } from '../address.ts'
import type { Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import { OWN_PROTOCOL, type Way } from '../uplinks.ts'
import type { Egress } from '../nat/nat-rule.ts'
import type { View } from '../nat/view.ts'
import { matches, packets } from './conditions.ts'
import { chainOf, type Chain, type Routing, type Rule, type Ruleset } from './ruleset.ts'
import { inOrder } from './source-translation.ts'
import type { Wanted } from './wanted.ts'

/** An uplink of which answers are marked. */
export interface MarkedUplink {
  name: string
  mark: number
  table: number
  /** Addresses that clients call. */
  addresses: readonly Range[]
  /** Those that they called lately. */
  former: readonly Range[]
  way: Way
}

/** The id under which the kernel's refusal of all this is kept. */
export const UPLINKS = 'uplinks'

/**
 * What leads packets of several uplinks: answers, and connections of guests that leave by another uplink than the default route's.
 * `egresses`: those of each family; undefined of a family of which nothing is wanted. Nothing of a family that does not need it, or in
 * which it collides.
 */
export function routingByUplink(
  view: Seen & Pick<View, 'quarantined'>,
  egresses: Readonly<Record<Family, readonly Egress[] | undefined>>,
): Pick<Ruleset, 'routing' | 'loose'> & { marks: Record<Family, Chain[]>; rest: Record<Family, Rule[]> } {
  const marked = (family: Family): MarkedUplink[] => {
    const own = egresses[family]
    return !own || isOff(view, family)
      ? []
      : markedUplinks(
          view,
          family,
          own.some((egress) => chosenUplink(egress, view) !== undefined),
        )
  }
  const all = { 4: marked(4), 6: marked(6) }
  const marks = (family: Family): Chain[] =>
    all[family].length === 0 ? [] : markChains(all[family], egresses[family] ?? [], view, family)
  const main = view.network.way[4]?.dev
  const { mask } = view.settings.uplinkMark
  return {
    marks: { 4: marks(4), 6: marks(6) },
    rest: { 4: translateRest(all[4], mask), 6: translateRest(all[6], mask) },
    routing: { 4: uplinkRouting(all[4], view, 4), 6: uplinkRouting(all[6], view, 6) },
    loose: all[4].map(({ name }) => name).filter((name) => name !== main),
  }
}

/** Whether nothing is marked, because somebody else uses the marks or the kernel refuses them. */
function isOff(view: Seen & Pick<View, 'quarantined'>, family: Family): boolean {
  return view.quarantined.has(UPLINKS) || uplinkCollision(view, family) !== undefined
}

/** Connections that a rule with via= would send by another uplink stay in while nothing can lead them there. */
export function keptIn({ egresses, family, view }: Wanted): Rule[] {
  if (!isOff(view, family)) return []
  const names = view.network.external.map(({ name }) => name)
  return egresses.flatMap((egress): Rule[] => {
    const { via, source, destination, rule } = egress
    const others = via ? names.filter((name) => !via.includes(name)) : []
    const base = { ...packets(egress), ...matches(source, destination), serves: rule.id }
    return others.map((out) => ({ ...base, out, target: { kind: 'drop' } }))
  })
}

/**
 * Masquerades marked packets that no OUT rule translates, so that no source of the inside leaves: packets to hosts in the network of another
 * uplink than the chosen one (`NAT none via=` exempts at its own uplinks alone), and all of them while the table with the marks is written and
 * the table with the translations is not. Because of that moment these rules also stand while no rule chooses an uplink. A mark of these bits
 * by another program counts, too.
 */
function translateRest(marked: readonly MarkedUplink[], mask: number): Rule[] {
  return marked.map(({ name }) => ({
    out: name,
    notMarked: { mark: 0, mask },
    target: { kind: 'masquerade' },
  }))
}

/**
 * The uplink by which an egress leaves: the first of `via` that is up, else the carrier of its address, else the link on which its address
 * or network lies; undefined: by the default route.
 */
function chosenUplink({ via, to, family }: Egress, { network }: Pick<View, 'network'>): string | undefined {
  const { external } = network
  if (external.length < 2) return undefined
  const isUp = (name: string): boolean => {
    const uplink = external.find((one) => one.name === name)?.uplink
    const way = uplink?.ways[family]
    return way !== undefined && !way.down && !uplink?.isDead
  }
  if (via) return via.find(isUp) ?? via[0]
  if (!to) return undefined
  const holds = (ranges: readonly Range[]): boolean => ranges.some((one) => contains(one, to))
  const carrier = external.find(({ addresses }) => holds(addresses))
  return (carrier ?? external.find(({ networks }) => holds(networks)))?.name
}

/** The uplinks of which packets are marked; none when the default route does for all. `isChosen`: guests leave by one that is chosen. */
export function markedUplinks({ network, settings }: Seen, family: Family, isChosen = false): MarkedUplink[] {
  const { uplinkMark: mark, uplinkTable: table } = settings
  const found = network.external.flatMap(({ name, addresses, uplink }): MarkedUplink[] => {
    const own = addresses.filter((address) => address.family === family)
    // By an uplink without a way nothing leaves, rather than by another one.
    const way = uplink?.ways[family] ?? (isChosen ? { down: true as const } : undefined)
    const value = uplink && markOf(uplink.index, mark)
    if ((own.length === 0 && !isChosen) || !way || !uplink || value === undefined) return []
    const lost = (uplink.former ?? []).flatMap(({ address }) => parseIp(address) ?? [])
    const former = lost.filter((address) => address.family === family)
    return [{ name, mark: value, table: table + uplink.index, addresses: own, former, way }]
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

function markChains(
  marked: readonly MarkedUplink[],
  egresses: readonly Egress[],
  view: Seen,
  family: Family,
): Chain[] {
  const { mask } = view.settings.uplinkMark
  const byAddress = (of: (one: MarkedUplink) => readonly Range[], part: (address: Range) => Partial<Rule>) =>
    marked.flatMap((one) =>
      of(one).map((address): Rule => ({ ...part(address), target: { kind: 'mark', mark: one.mark, mask } })),
    )
  const answer = (address: Range) => ({ direction: 'REPLY', originalDestination: address }) as const
  const answers = byAddress(({ addresses }) => addresses, answer)
  // Only guests answer from an address that the node has lost.
  const late = byAddress(({ former }) => former, answer)
  const stays = byAddress(
    ({ addresses, former }) => [...addresses, ...former],
    (address) => ({ direction: 'ORIGINAL', replyDestination: address }),
  )
  const bridges = new Set(
    view.network.internal.flatMap(({ bridge, network }) =>
      network.family === family && bridge ? [bridge] : [],
    ),
  )
  const leaving = [...bridges].map((bridge): Rule => ({
    in: bridge,
    direction: 'ORIGINAL',
    target: { kind: 'jump', chain: 'PVENAT-LEAVING' },
  }))
  // Where no rule chooses an uplink, new connections leave as the administrator's routing says.
  const chosen = choices(marked, egresses, view)
  const ofForwards = { state: 'DNAT', direction: 'REPLY' } as const
  const [forwards, toForwards] = gated(answers, ofForwards, 'PVENAT-ANSWERS')
  const [lateOnes, toLate] = gated(late, ofForwards, 'PVENAT-LATE')
  const [, toNode] = gated(answers, { direction: 'REPLY' }, 'PVENAT-ANSWERS')
  const [kept, toKept] = gated(stays, { state: 'SNAT' }, 'PVENAT-STAYING')
  return [
    ...forwards,
    ...lateOnes,
    ...(leaving.length === 0
      ? []
      : [...kept, ...chainOf('mangle', 'PVENAT-LEAVING', chosen, onWires(marked, view, family), toKept)]),
    ...chainOf('mangle', 'PVENAT-UPLINK', toForwards, toLate, leaving),
    ...chainOf('mangle', 'PVENAT-NODE', toNode),
  ]
}

/**
 * While others have routing rules, connections to hosts in the network of an uplink get no mark. Marked packets look up the table main first,
 * so the direct route to that network would overrule the rules of others, which may lead the connection to another uplink. Connections that have
 * an address of this uplink as their source keep its mark.
 */
function onWires(marked: readonly MarkedUplink[], { network, settings }: Seen, family: Family): Rule[] {
  if (!network.foreign?.[family].rules.length) return []
  const { mask } = settings.uplinkMark
  return marked.flatMap(({ name, addresses, mark }) => {
    const networks = network.external.find((one) => one.name === name)?.networks ?? []
    return networks
      .filter((one) => one.family === family)
      .flatMap((one): Rule[] => {
        const to: Omit<Rule, 'target'> = { direction: 'ORIGINAL', destination: { ranges: [one] } }
        const stay = addresses.map((address): Rule => ({
          ...to,
          replyDestination: address,
          target: { kind: 'mark', mark, mask },
        }))
        return [...stay, { ...to, target: { kind: 'return' } }]
      })
  })
}

/** Few rules as they are; many in a chain of their own, and the way there. */
function gated(rules: readonly Rule[], gate: Partial<Rule>, chain: string): [Chain[], readonly Rule[]] {
  if (rules.length < GATED) return [[], rules]
  return [chainOf('mangle', chain, rules), [{ ...gate, target: { kind: 'jump', chain } }]]
}

/**
 * The last mark holds, so the rules stand the other way round than translations do. A rule that leaves by the default route takes the mark
 * away that a later rule would set.
 */
function choices(marked: readonly MarkedUplink[], egresses: readonly Egress[], view: Seen): Rule[] {
  const { mask } = view.settings.uplinkMark
  const main = (family: Family): string => view.network.way[family]?.dev ?? ''
  const rules = inOrder(egresses)
    .reverse()
    .flatMap((egress): Rule[] => {
      const { source, destination, out, exempt, rule, family } = egress
      const name = chosenUplink(egress, view)
      const mark = name === undefined ? 0 : marked.find((one) => one.name === name)?.mark
      // A rule for another interface than the default route's translates nothing there.
      if (mark === undefined || (mark === 0 && !exempt && !out.includes(main(family)))) return []
      const target = { kind: 'mark', mark, mask } as const
      return [{ ...packets(egress), ...matches(source, destination), target, serves: rule.id }]
    })
  const first = rules.findIndex(({ target }) => target.kind === 'mark' && target.mark !== 0)
  return first < 0 ? [] : rules.slice(first)
}
