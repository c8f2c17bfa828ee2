/**
 * The one model of overlaps. A claim is (family, external address, protocol, external port) for a set of sources. Claims are
 * granted in order of priority; a forward loses every port that a winner with an overlapping source holds, and keeps
 * the others. What is granted never overlaps, so the order of the rendered rules means nothing.
 */
import { intersects, sameRange, type Family, type Range } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import { label } from './inner.ts'
import type { PortRange } from './comment.ts'
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
): Dispatch & { losses: Loss[] } {
  const all = rules.filter(({ kind }) => kind !== 'exempt').flatMap(({ forwards }) => forwards)
  const holes = rules.filter(({ kind }) => kind === 'exempt').flatMap(({ forwards }) => forwards)
  const forwards = all
    .filter((forward) => forward.family === family)
    .flatMap((forward) => punch(forward, holes))
  const everywhere = forwards.filter(({ external }) =>
    addresses.every((address) => holdsAt(external, address)),
  )
  const common = grant(everywhere)
  const losses = [...common.losses]
  const dispatch = addresses.map((address) => {
    const here = forwards.filter(({ external }) => holdsAt(external, address))
    if (here.length === everywhere.length) return { address, special: [], common: true }
    const granted = grant(here)
    losses.push(...granted.losses)
    const keys = new Set(granted.pieces.map(pieceKey))
    const shares = common.pieces.every((piece) => keys.has(pieceKey(piece)))
    const shared = new Set(shares ? common.pieces.map(pieceKey) : [])
    return {
      address,
      special: granted.pieces.filter((piece) => !shared.has(pieceKey(piece))),
      common: shares,
    }
  })
  return { common: common.pieces, addresses: dispatch, losses }
}

/** One diagnostic for each pair of loser and winner, at the loser's place. */
export function reportLosses(losses: readonly Loss[]): Diagnostic[] {
  const groups = new Map<string, { loss: Loss; ports: Set<string> }>()
  for (const loss of losses) {
    const key = `${loss.loser.rule.id} ${loss.winner.rule.id}`
    const group = groups.get(key) ?? { loss, ports: new Set() }
    group.ports.add(loss.ports ? `${formatPorts([loss.ports])}/${loss.loser.proto}` : loss.loser.proto)
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

function pieceKey({ rule, proto, ports, innerPort }: Forward): string {
  return `${rule.id} ${proto} ${ports?.join('-')} ${innerPort}`
}

/** Takes out of a forward the inner ports that the same guest marks `NAT none`. */
function punch(forward: Forward, holes: readonly Forward[]): Forward[] {
  let pieces = [forward]
  for (const hole of holes) {
    if (hole.proto !== forward.proto || !sameRange(hole.inner, forward.inner)) continue
    pieces = pieces.flatMap((piece) => {
      if (!piece.ports || !hole.ports || piece.innerPort === undefined) return []
      const shift = piece.single ? 0 : piece.ports[0] - piece.innerPort
      const [lo, hi] = innerPorts(hole)
      if (piece.single) return lo <= piece.innerPort && piece.innerPort <= hi ? [] : [piece]
      return cut(piece, [lo + shift, hi + shift])
    })
  }
  return pieces
}

function innerPorts({ ports = [0, 0], innerPort = 0, single }: Forward): PortRange {
  return [innerPort, single ? innerPort : innerPort + ports[1] - ports[0]]
}

/** What is left of a forward with ports without some of them. */
function cut(forward: Forward, [lo, hi]: PortRange): Forward[] {
  const { ports, innerPort = 0, single } = forward
  if (!ports || hi < ports[0] || ports[1] < lo) return [forward]
  const part = (from: number, to: number): Forward[] =>
    from > to
      ? []
      : [{ ...forward, ports: [from, to], innerPort: single ? innerPort : innerPort + from - ports[0] }]
  return [...part(ports[0], lo - 1), ...part(hi + 1, ports[1])]
}

/** Claims already granted at one address, found by protocol and block of 256 ports. */
type Granted = Map<string, Forward[]>

function grant(forwards: readonly Forward[]): { pieces: Forward[]; losses: Loss[] } {
  const granted: Granted = new Map()
  const losses: Loss[] = []
  const pieces: Forward[] = []
  for (const forward of forwards) {
    const rest = settle(forward, granted, losses)
    for (const piece of rest) for (const key of keys(piece)) push(granted, key, piece)
    pieces.push(...rest)
  }
  return { pieces, losses }
}

function settle(forward: Forward, granted: Granted, losses: Loss[]): Forward[] {
  let rest = [forward]
  const rivals = new Set([...keys(forward), 'all'].flatMap((key) => granted.get(key) ?? []))
  for (const winner of rivals) {
    if (rest.length === 0) break
    if (!sourcesMeet(winner.source, forward.source)) continue
    const before = rest
    rest = winner.ports && forward.ports ? rest.flatMap((piece) => cut(piece, winner.ports as PortRange)) : []
    if (rest.length === before.length && rest.every((piece, i) => piece === before[i])) continue
    losses.push({
      loser: forward,
      winner,
      ports: winner.ports && forward.ports && meet(winner.ports, forward.ports),
    })
  }
  return rest
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

function meet(a: PortRange, b: PortRange): PortRange {
  return [Math.max(a[0], b[0]), Math.min(a[1], b[1])]
}

function sourcesMeet(a: Match, b: Match): boolean {
  return a.ranges === 'any' || b.ranges === 'any' || intersects(a.ranges, b.ranges)
}
