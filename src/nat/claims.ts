/**
 * The one model of overlaps. A claim is (family, external address, protocol, external port) for a set of sources. Claims are
 * granted in order of priority; a forward loses every port that a winner with an overlapping source holds, and keeps
 * the others. What is granted never overlaps, so the order of the rendered rules means nothing.
 */
import { sameRange, type Family, type Range } from '../address.ts'
import { diagnose, placeName, type Diagnostic } from '../diagnostic.ts'
import { label } from '../guest/model.ts'
import { formatPorts, takeOut, touches, type PortRange } from '../ports.ts'
import { makeGranted, type Granted } from './granted.ts'
import { punchAll } from './holes.ts'
import { heldAt, isHeldApart, type Held, type Incumbents } from './incumbents.ts'
import { TOLD_WINNERS } from './limits.ts'
import type { Dispatch, Forward, NatRule } from './model.ts'
import { cover } from './pieces.ts'
import { unrivalled } from './rivals.ts'
import { CLUSTER_FW } from './view.ts'
import { sourceKey, sourcesMeet } from './sources.ts'

interface Loss {
  loser: Forward
  winner: Forward
  ports: PortRange | undefined
}

/** What is granted of one family. */
interface Claims {
  dispatch: Dispatch
  losses: Loss[]
  /** Whether all was granted to all, so that nothing depends on who held what before. */
  isUncontested: boolean
}

/**
 * Grants the claims of the rules at the external addresses of one family; `rules` in order of priority. `elsewhere`: addresses
 * that only rules which name them can claim.
 */
export function resolveClaims(
  rules: readonly NatRule[],
  addresses: readonly Range[],
  elsewhere: readonly Range[],
  family: Family,
  incumbents: Incumbents,
): Claims {
  const all = rules.flatMap((rule) => rule.forwards).filter((forward) => forward.family === family)
  const isHole = ({ rule }: Forward): boolean => rule.kind === 'exempt'
  const forwards = punchAll(
    all.filter((forward) => !isHole(forward)),
    all.filter(isHole),
  )
  const everywhere = forwards.filter(({ external }) =>
    addresses.every((address) => holdsAt(external, address)),
  )
  const common = grant(everywhere, heldAt(incumbents, undefined))
  const losses = [...common.losses]
  let isUncontested = isWhole(everywhere, common)
  const dispatched = [...addresses, ...elsewhere].map((address) => {
    const here = forwards.filter(({ external }) => holdsAt(external, address))
    const isPlain =
      !elsewhere.includes(address) && here.length === everywhere.length && !isHeldApart(incumbents, address)
    if (isPlain) return { address, special: [], common: true }
    const granted = grant(here, heldAt(incumbents, address))
    losses.push(...granted.losses)
    isUncontested &&= isWhole(here, granted)
    const keys = new Set(granted.pieces.map(pieceKey))
    const shares = common.pieces.every((piece) => keys.has(pieceKey(piece)))
    const shared = new Set(shares ? common.pieces.map(pieceKey) : [])
    const special = granted.pieces.filter((piece) => !shared.has(pieceKey(piece)))
    return { address, special, common: shares }
  })
  const isShared = dispatched.some(({ common: shared }) => shared)
  return {
    dispatch: { common: isShared ? common.pieces : [], addresses: dispatched },
    losses: isShared ? losses : losses.slice(common.losses.length),
    isUncontested,
  }
}

function isWhole(forwards: readonly Forward[], { pieces, losses }: Grant): boolean {
  return (
    losses.length === 0 && pieces.length === forwards.length && pieces.every((one, i) => one === forwards[i])
  )
}

/** One diagnostic for each pair of loser and winner, with the loser. */
export function reportLosses(losses: readonly Loss[]): { loser: NatRule; diagnostic: Diagnostic }[] {
  const groups = new Map<string, { loss: Loss; ports: Set<string> }>()
  for (const loss of losses) {
    if (loss.loser.rule === loss.winner.rule) continue
    const key = `${loss.loser.rule.id} ${loss.winner.rule.id}`
    const group = groups.get(key) ?? { loss, ports: new Set() }
    const { proto } = loss.loser.full ? loss.winner : loss.loser
    group.ports.add(loss.ports ? `${formatPorts([loss.ports])}/${proto}` : proto)
    groups.set(key, group)
  }
  return [...groups.values()].map(({ loss: { loser, winner }, ports }) => {
    const facts = {
      ports: [...ports].join(', '),
      loser: groupGuest(loser.rule),
      winner: describe(winner.rule),
      winnerFor: describeFor(loser.rule, winner.rule),
      wish: loser.rule.id,
    }
    return { loser: loser.rule, diagnostic: diagnose('port-taken', loser.rule.where, facts) }
  })
}

/** The guest of a rule that stands in a group: its line says nothing of the guest. */
function groupGuest({ place, scope }: NatRule): string | undefined {
  return scope.kind === 'guest' && place.file === CLUSTER_FW ? label(scope.guest) : undefined
}

/** The winner as the owner of the losing guest may see it. */
function describeFor({ scope: own }: NatRule, { place, scope }: NatRule): string {
  if (scope.kind !== 'guest') return scope.kind === 'host' ? 'a rule of the node' : 'a rule of the datacenter'
  return own.kind === 'guest' && own.guest.vmid === scope.guest.vmid ? placeName(place) : 'another guest'
}

/** `105.fw:7 (guest 105 (plain))`: where the winner stands. */
function describe({ place, scope }: NatRule): string {
  const line = placeName(place)
  return scope.kind === 'guest' ? `${line} (guest ${label(scope.guest)})` : line
}

function holdsAt(external: readonly Range[], address: Range): boolean {
  return external.some((own) => sameRange(own, address))
}

function pieceKey({ rule, proto, ports, innerPort, source }: Forward): string {
  return `${rule.id} ${proto} ${ports?.join('-')} ${innerPort} ${sourceKey(source)}`
}

interface Grant {
  pieces: Forward[]
  losses: Loss[]
}

/** First the administrator's rules, then what guests hold already, then newcomers. */
function grant(forwards: readonly Forward[], held: Held): Grant {
  const granted = makeGranted()
  const losses: Loss[] = []
  const won = new Map<Forward, Forward[]>()
  const sole = unrivalled(forwards)
  const rest = sole.size > 0 ? forwards.filter((forward) => !sole.has(forward)) : forwards
  const [admins, guests] = [rest.filter((one) => !isGuest(one)), rest.filter(isGuest)]
  const claims = [
    ...admins.map((forward) => ({ forward, parts: [forward] })),
    ...guests.flatMap((forward) => {
      const parts = incumbent(forward, held(forward))
      return parts.length > 0 ? [{ forward, parts }] : []
    }),
    ...guests.map((forward) => ({ forward, parts: newcomer(forward, held(forward)) })),
  ]
  for (const { forward, parts } of claims) {
    const left = parts.flatMap((part) => settle(part, granted, losses))
    left.forEach(granted.add)
    const before = won.get(forward)
    won.set(forward, before && before.length > 0 ? [...before, ...left] : left)
  }
  const piecesOf = (forward: Forward): Forward[] =>
    sole.has(forward) ? [forward] : join(won.get(forward) ?? [])
  return { pieces: forwards.flatMap(piecesOf), losses }
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
  if (!forward.ports) return []
  const rest = [forward.ports]
  for (const ports of held) takeOut(rest, ports)
  return rest.flatMap((ports) => cover(forward, ports))
}

/** Parts of one forward that lie side by side are one again. */
function join(parts: readonly Forward[]): Forward[] {
  if (parts.length < 2) return [...parts]
  const sorted = [...parts].sort((a, b) => (a.ports?.[0] ?? 0) - (b.ports?.[0] ?? 0))
  const joined: Forward[] = []
  for (const part of sorted) {
    const last = joined.at(-1)
    if (!last?.ports || !part.ports || last.ports[1] + 1 !== part.ports[0]) joined.push(part)
    else joined[joined.length - 1] = { ...last, ports: [last.ports[0], part.ports[1]] }
  }
  return joined
}

function settle(forward: Forward, granted: Granted, losses: Loss[]): Forward[] {
  if (forward.full) return settleFull(forward, granted, losses)
  const rest = forward.ports ? [forward.ports] : []
  let told = 0
  const lose = (winner: Forward): void => {
    if (++told <= TOLD_WINNERS)
      losses.push({ loser: forward, winner, ports: meet(winner.ports, forward.ports) })
  }
  for (const winner of granted.rivals(forward)) {
    const taken = forward.ports && winner.ports
    if (taken && !touches(rest, taken)) continue
    if (!sourcesMeet(winner.source, forward.source)) continue
    lose(winner)
    if (taken) takeOut(rest, taken)
    if (!taken || rest.length === 0) return []
  }
  return forward.ports ? rest.flatMap((ports) => cover(forward, ports)) : [forward]
}

/** full=1 takes what others left; only another full=1 leaves nothing. What its own guest forwards besides is no loss. */
function settleFull(forward: Forward, granted: Granted, losses: Loss[]): Forward[] {
  const rivals = granted.all.filter((one) => sourcesMeet(one.source, forward.source))
  const winners = rivals.filter((one) => !sameRange(one.inner, forward.inner)).slice(0, TOLD_WINNERS)
  losses.push(...winners.map((winner) => ({ loser: forward, winner, ports: winner.ports })))
  return rivals.some((one) => one.full) ? [] : [forward]
}

function meet(a: PortRange | undefined, b: PortRange | undefined): PortRange | undefined {
  return a && b ? [Math.max(a[0], b[0]), Math.min(a[1], b[1])] : (a ?? b)
}
