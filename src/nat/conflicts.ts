/**
 * Conflicts: which claim gets a port at an external address. Priorities: rules of the administrator, rights of guests, new claims. At each
 * address claims are sorted by port and divided into clusters of overlapping claims. In a cluster each claim, by priority, gets the ports
 * that no winner with an overlapping source has. Granted claims never overlap, so the order of rules in the kernel does not matter.
 */
import { formatRange, intersects, sameRange, type Range } from '../address.ts'
import { append, groupBy } from '../lists.ts'
import { ALL_PORTS, meet, meets, mergePorts, takeOut, touches, within, type PortRange } from '../ports.ts'
import { TOLD_WINNERS } from './limits.ts'
import { ANY } from './match.ts'
import type { Clients, Dispatch, Forward } from './nat-rule.ts'
import { cover, mapsNetwork } from './pieces.ts'
import type { Right } from './rights.ts'
import { sourcesMeet } from './sources.ts'

/** A forward, or a right that its owner does not use now. */
type Winner = Forward | Right

export interface Loss {
  loser: Forward
  winner: Winner
  ports: PortRange | undefined
}

interface Grants {
  dispatch: Dispatch
  losses: Loss[]
}

/**
 * Grants the forwards of one family at the external addresses of the node; `forwards` in order of their rules. `elsewhere`: addresses
 * that only rules which name them can claim.
 */
export function grantAll(
  forwards: readonly Forward[],
  addresses: readonly Range[],
  elsewhere: readonly Range[],
  rights: readonly Right[],
): Grants {
  const made: { forwards: readonly Forward[]; rights: readonly Right[]; granted: Granted }[] = []
  const grantOnce = (own: readonly Forward[], held: readonly Right[]): Granted => {
    const same = made.find((one) => sameItems(one.forwards, own) && sameItems(one.rights, held))
    if (same) return same.granted
    const granted = grant(own, held)
    made.push({ forwards: own, rights: held, granted })
    return granted
  }
  const texts = addresses.map(formatRange)
  const common = grantOnce(
    forwards.filter(({ external }) => addresses.every((address) => holdsAt(external, address))),
    rights.filter(({ at }) => texts.every((text) => at.includes(text))),
  )
  const losses: Loss[] = []
  const dispatched = [...addresses, ...elsewhere].map((address, i) => {
    const text = texts[i] ?? formatRange(address)
    const granted = grantOnce(
      forwards.filter(({ external }) => holdsAt(external, address)),
      rights.filter(({ at }) => at.includes(text)),
    )
    if (granted === common && i < addresses.length) return { address, special: [], common: true }
    losses.push(...granted.losses)
    const keys = new Set(granted.pieces.map(pieceKey))
    const shares = common.pieces.every((piece) => keys.has(pieceKey(piece)))
    const shared = new Set(shares ? common.pieces.map(pieceKey) : [])
    const special = granted.pieces.filter((piece) => !shared.has(pieceKey(piece)))
    return { address, special, common: shares }
  })
  const isShared = dispatched.some(({ common: shared }) => shared)
  const networks = settleNetworks(forwards, losses)
  return {
    dispatch: { common: isShared ? common.pieces : [], addresses: [...dispatched, ...networks] },
    losses: isShared ? [...common.losses, ...losses] : losses,
  }
}

/** Of networks that overlap and are mapped as a whole the first one counts. */
function settleNetworks(forwards: readonly Forward[], losses: Loss[]): Dispatch['addresses'] {
  const winners: Forward[] = []
  for (const loser of forwards.filter(mapsNetwork)) {
    const winner = winners.find(({ external }) => intersects(external, loser.external))
    if (winner) losses.push({ loser, winner, ports: undefined })
    else winners.push(loser)
  }
  return winners.flatMap((special) =>
    special.external.map((address) => ({ address, special: [special], common: false })),
  )
}

/** The ports that guests hold by a dispatch: each claim of a guest that was granted, at the addresses where it was. */
export function grantedRights({ common, addresses }: Dispatch): Right[] {
  const everywhere = addresses.flatMap((one) => (one.common ? formatRange(one.address) : []))
  return [
    ...common.flatMap((forward) => rightOf(forward, everywhere)),
    ...addresses.flatMap(({ address, special }) => {
      const at = [formatRange(address)]
      return special.flatMap((forward) => rightOf(forward, at))
    }),
  ]
}

/** A granted forward, and the external addresses at which it holds. */
export interface PlacedForward {
  forward: Forward
  at: Range[]
}

export function placedForwards({ common, addresses }: Dispatch): PlacedForward[] {
  const everywhere = addresses.filter((one) => one.common).map(({ address }) => address)
  return [
    ...common.map((forward) => ({ forward, at: everywhere })),
    ...addresses.flatMap(({ address, special }) => special.map((forward) => ({ forward, at: [address] }))),
  ]
}

export function grantedForwards({ common, addresses }: Dispatch): Forward[] {
  return [...common, ...addresses.flatMap(({ special }) => special)]
}

function rightOf({ rule: { scope }, proto, ports, source, full }: Forward, at: readonly string[]): Right[] {
  if (scope.kind !== 'guest' || full) return []
  return [{ vmid: scope.guest.vmid, proto, ports, source: source.key, at }]
}

function holdsAt(external: readonly Range[], address: Range): boolean {
  return external.some((own) => sameRange(own, address))
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i])
}

function pieceKey({ rule, proto, ports, innerPort, source }: Forward): string {
  return `${rule.id} ${proto} ${ports?.join('-')} ${innerPort} ${source.key}`
}

/** Priorities: rules of cluster.fw and host.fw, rights in use, rights that are not used now, rights with other clients, new claims. */
const RANK = { admin: 0, held: 1, unused: 2, heldForOthers: 3, new: 4 } as const

interface Claim {
  rank: number
  /** Among claims of one rank the first one comes first. */
  order: number
  forward: Forward | undefined
  winner: Winner
  proto: string
  ports: PortRange
  source: Clients
}

interface Granted {
  pieces: Forward[]
  losses: Loss[]
}

/** Grants at one address; `rights` are those that are held there. */
function grant(forwards: readonly Forward[], rights: readonly Right[]): Granted {
  const held = groupBy(rights, ({ vmid, proto }) => kindOf(vmid, proto))
  const losses: Loss[] = []
  const won = new Map<Forward, Forward[]>()
  const give = (forward: Forward, pieces: readonly Forward[]): void => {
    const before = won.get(forward)
    won.set(forward, before ? [...before, ...pieces] : [...pieces])
  }
  const claims = [
    ...forwards.map((forward, order) => claimOf(forward, order)),
    ...unused(forwards, rights).map((right, order) => rightClaim(right, order)),
  ]
  const fulls = settleFulls(
    claims.filter(({ proto }) => proto === 'all').flatMap((claim) => ranked(claim, held)),
    losses,
    give,
  )
  for (const cluster of clusters(claims.filter(({ proto }) => proto !== 'all'))) {
    const [only] = cluster
    if (cluster.length === 1 && fulls.length === 0) {
      if (only?.forward) won.set(only.forward, [only.forward])
      continue
    }
    settle(
      cluster.flatMap((claim) => ranked(claim, held)),
      fulls,
      losses,
      give,
    )
  }
  const granted = forwards.flatMap((forward) => joined(won.get(forward) ?? []))
  const idle = fulls.length === 0 ? [] : unused(granted, rights, true)
  const pieces = granted.map((one) => (one.full ? without(one, idle) : one))
  return { pieces, losses }
}

function claimOf(forward: Forward, order: number): Claim {
  const { rule, proto, ports = ALL_PORTS, source } = forward
  const rank = rule.scope.kind === 'guest' ? RANK.new : RANK.admin
  return { rank, order, forward, winner: forward, proto, ports, source }
}

/** A right claims its port for every client, because only a key of its clients is remembered. */
function rightClaim(right: Right, order: number): Claim {
  const { proto, ports = ALL_PORTS } = right
  return { rank: RANK.unused, order, forward: undefined, winner: right, proto, ports, source: ANY }
}

function kindOf(vmid: number, proto: string): string {
  return `${vmid} ${proto}`
}

/** The parts of rights that no forward of their owner claims now; with `isExact`: none for the clients of the right. */
function unused(forwards: readonly Forward[], rights: readonly Right[], isExact = false): Right[] {
  const used = new Map<string, PortRange[]>()
  for (const { rule, proto, ports = ALL_PORTS, source } of forwards) {
    if (rule.scope.kind !== 'guest') continue
    append(used, `${kindOf(rule.scope.guest.vmid, proto)} ${isExact ? source.key : 'any'}`, ports)
  }
  return rights.flatMap((right) => {
    if (right.proto === 'inner' || right.proto === 'snat') return []
    const rest = [right.ports ?? ALL_PORTS]
    for (const clients of ['any', right.source])
      for (const ports of used.get(`${kindOf(right.vmid, right.proto)} ${clients}`) ?? [])
        takeOut(rest, ports)
    return rest.map((ports) => ({ ...right, ports: right.ports && ports }))
  })
}

/** The parts of a guest's claim: ports held for these clients, ports held for other clients, new ports. */
function ranked(claim: Claim, held: ReadonlyMap<string, readonly Right[]>): Claim[] {
  const { forward, ports } = claim
  if (forward?.rule.scope.kind !== 'guest') return [claim]
  const own = held.get(kindOf(forward.rule.scope.guest.vmid, claim.proto))
  if (!own) return [claim]
  const key = forward.source.key
  const exact = mergePorts(
    own.flatMap(({ source, ports: one }) => (source === 'any' || source === key ? [one ?? ALL_PORTS] : [])),
  )
  const any = mergePorts(own.map(({ ports: one }) => one ?? ALL_PORTS))
  for (const one of exact) takeOut(any, one)
  const rest: PortRange[] = [ports]
  for (const one of [...exact, ...any]) takeOut(rest, one)
  const part = (list: readonly PortRange[], rank: number): Claim[] =>
    within(list, ports).map((both) => ({ ...claim, rank, ports: both }))
  return [...part(exact, RANK.held), ...part(any, RANK.heldForOthers), ...part(rest, RANK.new)]
}

function byPriority(a: Claim, b: Claim): number {
  return a.rank - b.rank || a.order - b.order
}

/** Claims of a protocol whose ports overlap, directly or by way of others. */
function clusters(claims: readonly Claim[]): Claim[][] {
  const sorted = [...claims].sort((a, b) =>
    a.proto === b.proto ? a.ports[0] - b.ports[0] : a.proto < b.proto ? -1 : 1,
  )
  const found: Claim[][] = []
  let [proto, end] = ['', -1]
  for (const claim of sorted) {
    if (claim.proto === proto && claim.ports[0] <= end) found.at(-1)?.push(claim)
    else found.push([claim])
    end = claim.proto === proto ? Math.max(end, claim.ports[1]) : claim.ports[1]
    proto = claim.proto
  }
  return found
}

type Give = (forward: Forward, pieces: readonly Forward[]) => void

/** full=1 takes all ports that other forwards leave, so it conflicts only with another full=1. Returns the winners by priority. */
function settleFulls(claims: readonly Claim[], losses: Loss[], give: Give): Claim[] {
  const winners: Claim[] = []
  for (const claim of [...claims].sort(byPriority)) {
    const taken = winners.find(({ source }) => sourcesMeet(source, claim.source))
    if (!taken) {
      winners.push(claim)
      if (claim.forward) give(claim.forward, [claim.forward])
    } else if (claim.forward) losses.push({ loser: claim.forward, winner: taken.winner, ports: undefined })
  }
  return winners
}

/** A full=1 of a guest without the ports that other guests hold and that do not lead to them now. */
function without(full: Forward, idle: readonly Right[]): Forward {
  const { scope } = full.rule
  if (scope.kind !== 'guest') return full
  const others = idle.filter(({ vmid, proto }) => vmid !== scope.guest.vmid && proto !== 'all')
  if (others.length === 0) return full
  const left = others.map(({ proto, ports }) => ({ proto, ...(ports ? { ports } : {}), source: ANY }))
  return { ...full, except: [...full.except, ...left] }
}

/**
 * Whether a full=1 forward excludes a new claim of another guest at its address. A full=1 of the administrator does, and one that its guest
 * holds as a right.
 */
function keepsOut(full: Claim, { rank, forward }: Claim): boolean {
  if (!forward || full.rank > RANK.unused || rank <= RANK.unused) return false
  const { scope } = forward.rule
  const isOwn = scope.kind === 'guest' && scope.guest.vmid === ownerOf(full.winner)
  const isSameInner = full.forward !== undefined && sameRange(full.forward.inner, forward.inner)
  return !isOwn && !isSameInner && sourcesMeet(full.source, forward.source)
}

function ownerOf(winner: Winner): number | undefined {
  if (!('rule' in winner)) return winner.vmid
  return winner.rule.scope.kind === 'guest' ? winner.rule.scope.guest.vmid : undefined
}

/** Grants one cluster; `fulls` are the winners among full=1. */
function settle(cluster: Claim[], fulls: readonly Claim[], losses: Loss[], give: Give): void {
  const winners: Claim[] = []
  for (const claim of cluster.sort(byPriority)) {
    const { forward, ports, source } = claim
    const rest = [ports]
    let told = 0
    const lose = (winner: Winner, taken: PortRange): void => {
      takeOut(rest, taken)
      if (forward && ++told <= TOLD_WINNERS)
        losses.push({ loser: forward, winner, ports: forward.ports && meet(taken, ports) })
    }
    const full = fulls.find((one) => keepsOut(one, claim))
    if (full) lose(full.winner, ALL_PORTS)
    for (const winner of winners) {
      if (rest.length === 0) break
      if (!meets(winner.ports, ports) || !touches(rest, winner.ports)) continue
      if (sourcesMeet(winner.source, source)) lose(winner.winner, winner.ports)
    }
    for (const one of rest) winners.push({ ...claim, ports: one })
    if (forward)
      give(forward, forward.ports ? rest.flatMap((one) => cover(forward, one)) : forwardIf(rest, forward))
  }
}

function forwardIf(rest: readonly PortRange[], forward: Forward): Forward[] {
  return rest.length > 0 ? [forward] : []
}

/** Parts of one forward that lie side by side are one again. */
function joined(parts: readonly Forward[]): Forward[] {
  if (parts.length < 2) return [...parts]
  const sorted = [...parts].sort((a, b) => (a.ports?.[0] ?? 0) - (b.ports?.[0] ?? 0))
  const found: Forward[] = []
  for (const part of sorted) {
    const last = found.at(-1)
    if (!last?.ports || !part.ports || last.ports[1] + 1 !== part.ports[0]) found.push(part)
    else found[found.length - 1] = { ...last, ports: [last.ports[0], part.ports[1]] }
  }
  return found
}
