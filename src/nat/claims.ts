/**
 * The one model of overlaps. A claim is (family, external address, protocol, external port) for a set of sources. Claims are
 * granted in order of priority; a forward loses every port that a winner with an overlapping source holds, and keeps
 * the others. What is granted never overlaps, so the order of the rendered rules means nothing.
 */
import { everything, intersects, sameRange, without, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { label } from './inner.ts'
import type { PortRange } from './comment.ts'
import { heldAt, isHeldApart, sourceKey, type Held, type Incumbents } from './incumbents.ts'
import { matchOf } from './match.ts'
import type { Forward, Match, NatRule } from './model.ts'
import { formatPorts } from './template.ts'

/** The granted forwards of one family: those that hold at every external address alike, and what differs at single ones. */
export interface Dispatch {
  common: Forward[]
  addresses: { address: Range; special: Forward[]; common: boolean }[]
}

interface Loss {
  loser: Forward
  winner: Forward
  ports: PortRange | undefined
}

/** Grants the claims of the rules at the external addresses of one family; `rules` in order of priority. */
export function resolveClaims(
  rules: readonly NatRule[],
  addresses: readonly Range[],
  family: Family,
  incumbents: Incumbents,
): Dispatch & { losses: Loss[] } {
  const all = rules.filter(({ kind }) => kind !== 'exempt').flatMap(({ forwards }) => forwards)
  const holes = rules.filter(({ kind }) => kind === 'exempt').flatMap(({ forwards }) => forwards)
  const forwards = all
    .filter((forward) => forward.family === family)
    .flatMap((forward) => punch(forward, holes))
  const everywhere = forwards.filter(({ external }) =>
    addresses.every((address) => holdsAt(external, address)),
  )
  const common = grant(everywhere, heldAt(incumbents, undefined))
  const losses = [...common.losses]
  const dispatch = addresses.map((address) => {
    const here = forwards.filter(({ external }) => holdsAt(external, address))
    const isPlain = here.length === everywhere.length && !isHeldApart(incumbents, address)
    if (isPlain) return { address, special: [], common: true }
    const granted = grant(here, heldAt(incumbents, address))
    losses.push(...granted.losses)
    const keys = new Set(granted.pieces.map(pieceKey))
    const shares = common.pieces.every((piece) => keys.has(pieceKey(piece)))
    const shared = new Set(shares ? common.pieces.map(pieceKey) : [])
    const special = granted.pieces.filter((piece) => !shared.has(pieceKey(piece)))
    return { address, special, common: shares }
  })
  const isShared = dispatch.some(({ common: shared }) => shared)
  return {
    common: isShared ? common.pieces : [],
    addresses: dispatch,
    losses: isShared ? losses : losses.slice(common.losses.length),
  }
}

/** One diagnostic for each pair of loser and winner, at the loser's place. */
export function reportLosses(losses: readonly Loss[]): Diagnostic[] {
  const groups = new Map<string, { loss: Loss; ports: Set<string> }>()
  for (const loss of losses) {
    if (loss.loser.rule === loss.winner.rule) continue
    const key = `${loss.loser.rule.id} ${loss.winner.rule.id}`
    const group = groups.get(key) ?? { loss, ports: new Set() }
    const { proto } = loss.loser.full ? loss.winner : loss.loser
    group.ports.add(loss.ports ? `${formatPorts([loss.ports])}/${proto}` : proto)
    groups.set(key, group)
  }
  return [...groups.values()].map(({ loss: { loser, winner }, ports }) =>
    diagnose('port-taken', loser.rule.where, { ports: [...ports].join(', '), winner: describe(winner.rule) }),
  )
}

/** `105.fw:7 (guest 105 (plain))`: where the winner stands. */
export function describe({ place, scope }: NatRule): string {
  const line = `${place.file.replace(/^.*\//, '')}:${place.span.line}`
  return scope.kind === 'guest' ? `${line} (guest ${label(scope.guest)})` : line
}

function holdsAt(external: readonly Range[], address: Range): boolean {
  return external.some((own) => sameRange(own, address))
}

function pieceKey({ rule, proto, ports, innerPort, source }: Forward): string {
  return `${rule.id} ${proto} ${ports?.join('-')} ${innerPort} ${sourceKey(source)}`
}

/** Takes out of a forward what the same guest marks `NAT none`: for all clients, or for those of the exemption's source. */
function punch(forward: Forward, holes: readonly Forward[]): Forward[] {
  const own = holes.filter((hole) => sameRange(hole.inner, forward.inner))
  if (forward.full) return [{ ...forward, except: [...forward.except, ...own] }]
  let pieces = [forward]
  for (const hole of own) {
    if (hole.proto !== forward.proto) continue
    pieces = pieces.flatMap((piece) => [
      ...cut(piece, shifted(piece, hole)),
      ...cover(piece, shifted(piece, hole)).map((part) => ({
        ...part,
        source: excluding(part, hole.source),
      })),
    ])
  }
  return pieces.filter(({ source }) => source.ranges === 'any' || source.ranges.length > 0)
}

/** The external ports of a forward that lead to the inner ports of a hole. */
function shifted({ ports, innerPort = 0, single }: Forward, hole: Forward): PortRange | undefined {
  if (!ports || !hole.ports) return ports
  const [lo, hi] = innerPorts(hole)
  if (single) return lo <= innerPort && innerPort <= hi ? ports : [0, 0]
  return [lo + ports[0] - innerPort, hi + ports[0] - innerPort]
}

function excluding({ source, family }: Forward, hole: Match): Match {
  if (hole.ranges === 'any') return { ranges: [] }
  const before = source.ranges === 'any' ? [everything(family)] : source.ranges
  return matchOf(hole.ranges.reduce((ranges, range) => without(ranges, range), before))
}

function innerPorts({ ports = [0, 0], innerPort = 0, single }: Forward): PortRange {
  return [innerPort, single ? innerPort : innerPort + ports[1] - ports[0]]
}

/** What is left of a forward without some of its ports; without all of it when no ports are named. */
function cut(forward: Forward, without: PortRange | undefined): Forward[] {
  const { ports } = forward
  if (!ports || !without) return []
  const [lo, hi] = without
  if (hi < ports[0] || ports[1] < lo) return [forward]
  return [...part(forward, ports[0], lo - 1), ...part(forward, hi + 1, ports[1])]
}

/** The part of a forward at some of its ports; all of it when no ports are named. */
function cover(forward: Forward, within: PortRange | undefined): Forward[] {
  const { ports } = forward
  if (!ports || !within) return [forward]
  return part(forward, Math.max(ports[0], within[0]), Math.min(ports[1], within[1]))
}

function part(forward: Forward, lo: number, hi: number): Forward[] {
  const { ports, innerPort = 0, single } = forward
  if (!ports || lo > hi) return []
  return [{ ...forward, ports: [lo, hi], innerPort: single ? innerPort : innerPort + lo - ports[0] }]
}

/** Claims already granted at one address, found by protocol and block of 256 ports. */
type Granted = Map<string, Forward[]>

/** First the administrator's rules, then what guests hold already, then newcomers. */
function grant(forwards: readonly Forward[], held: Held): { pieces: Forward[]; losses: Loss[] } {
  const granted: Granted = new Map()
  const losses: Loss[] = []
  const won = new Map<Forward, Forward[]>()
  const [admins, guests] = [forwards.filter((one) => !isGuest(one)), forwards.filter(isGuest)]
  const claims = [
    ...admins.map((forward) => ({ forward, parts: [forward] })),
    ...guests.map((forward) => ({ forward, parts: incumbent(forward, held(forward)) })),
    ...guests.map((forward) => ({ forward, parts: newcomer(forward, held(forward)) })),
  ]
  for (const { forward, parts } of claims) {
    const rest = parts.flatMap((part) => settle(part, granted, losses))
    for (const piece of rest) for (const key of keys(piece)) push(granted, key, piece)
    won.set(forward, [...(won.get(forward) ?? []), ...rest])
  }
  return { pieces: forwards.flatMap((forward) => join(won.get(forward) ?? [])), losses }
}

function isGuest({ rule }: Forward): boolean {
  return rule.scope.kind === 'guest'
}

function incumbent(forward: Forward, held: readonly PortRange[] | undefined): Forward[] {
  if (!held) return []
  return forward.ports ? held.flatMap((ports) => cover(forward, ports)) : [forward]
}

function newcomer(forward: Forward, held: readonly PortRange[] | undefined): Forward[] {
  if (!held) return [forward]
  return held.reduce<Forward[]>((parts, ports) => parts.flatMap((part) => cut(part, ports)), [forward])
}

/** Parts of one forward that lie side by side are one again. */
function join(parts: readonly Forward[]): Forward[] {
  const sorted = [...parts].sort((a, b) => (a.ports?.[0] ?? 0) - (b.ports?.[0] ?? 0))
  return sorted.reduce<Forward[]>((joined, part) => {
    const last = joined.at(-1)
    if (!last?.ports || !part.ports || last.ports[1] + 1 !== part.ports[0]) return [...joined, part]
    return [...joined.slice(0, -1), { ...last, ports: [last.ports[0], part.ports[1]] }]
  }, [])
}

function settle(forward: Forward, granted: Granted, losses: Loss[]): Forward[] {
  if (forward.full) return settleFull(forward, granted, losses)
  let rest = [forward]
  const rivals = new Set([...keys(forward), 'all'].flatMap((key) => granted.get(key) ?? []))
  for (const winner of rivals) {
    if (rest.length === 0) break
    if (!sourcesMeet(winner.source, forward.source)) continue
    const before = rest
    rest = winner.ports && forward.ports ? rest.flatMap((piece) => cut(piece, winner.ports)) : []
    if (rest.length === before.length && rest.every((piece, i) => piece === before[i])) continue
    losses.push({ loser: forward, winner, ports: meet(winner.ports, forward.ports) })
  }
  return rest
}

/** full=1 takes what others left; only another full=1 leaves nothing. What its own guest forwards besides is no loss. */
function settleFull(forward: Forward, granted: Granted, losses: Loss[]): Forward[] {
  const rivals = new Set([...granted.values()].flat())
  const winners = [...rivals].filter(
    (one) => sourcesMeet(one.source, forward.source) && !sameRange(one.inner, forward.inner),
  )
  losses.push(...winners.map((winner) => ({ loser: forward, winner, ports: winner.ports })))
  return [...rivals].some((one) => one.full && sourcesMeet(one.source, forward.source)) ? [] : [forward]
}

function keys({ proto, ports }: Forward): string[] {
  if (!ports) return [proto]
  const [first, last] = [ports[0] >> 8, ports[1] >> 8]
  return Array.from({ length: last - first + 1 }, (_, i) => `${proto}/${first + i}`)
}

function push(granted: Granted, key: string, forward: Forward): void {
  const list = granted.get(key)
  if (list) list.push(forward)
  else granted.set(key, [forward])
}

function meet(a: PortRange | undefined, b: PortRange | undefined): PortRange | undefined {
  return a && b ? [Math.max(a[0], b[0]), Math.min(a[1], b[1])] : (a ?? b)
}

function sourcesMeet(a: Match, b: Match): boolean {
  return a.ranges === 'any' || b.ranges === 'any' || intersects(a.ranges, b.ranges)
}
