/** Which forward holds an external address and port, and where it leads. */
import type { Family } from './ip.ts'
import { ofKind, type Scoped } from './scope.ts'
import { inside, width, type Forward, type Hole, type Pair, type Spec } from './spec.ts'
import { anybody, holds, meet, sourcesOr, without, type Sources } from './sources.ts'
import type { Packet } from './tracer.ts'
import { familyOf, INTERFACES, networkOf, nodeAddress, route } from './world.ts'

export interface Forwarded {
  to: string
  port: number
  seenAs: string
  /** pve-firewall would drop it on the guest's firewall bridge. */
  mustAccept: boolean
}

export function forwarded(rules: readonly Scoped[], spec: Spec, packet: Packet): Forwarded | undefined {
  const holder = holders(rules, spec, packet).find(({ source }) => holds(source, packet.source))
  if (!holder) return undefined
  const { inner, port, rule } = holder
  if (!isOutside(packet) && !rule.hairpin) return undefined
  const network = networkOf(inner)
  const isNeighbour = network !== undefined && !network.external && networkOf(packet.source) === network
  const isHidden = rule.snat || isNeighbour
  const seenAs = isHidden ? nodeAddress(route(inner), familyOf(inner)) : packet.source
  return { to: inner, port, seenAs, mustAccept: rule.accept }
}

function isOutside({ in: by }: Packet): boolean {
  return INTERFACES.some(({ name, external }) => external && name === by)
}

interface Holder {
  rule: Forward
  inner: string
  port: number
  source: Sources
}

/**
 * The forwards that hold the address, protocol and port of a packet: each that claims it and whose source overlaps with none that
 * comes before it.
 */
function holders(rules: readonly Scoped[], spec: Spec, { destination, proto, dport }: Packet): Holder[] {
  const family = familyOf(destination)
  const forwards = ofKind(rules, 'forward').filter((one) => isAllowed(one))
  const byPriority = [
    ...forwards.filter(({ scope }) => typeof scope === 'string'),
    ...forwards.filter(({ scope }) => typeof scope !== 'string'),
  ]
  const holes = ofKind(rules, 'hole').filter((one) => isAllowed(one))
  const result: Holder[] = []
  for (const one of byPriority) {
    const { rule } = one
    const pair = rule.pairs.find(({ protos, external }) => protos.includes(proto) && inside(external, dport))
    const inner = innerOf(one, family)
    if (!pair || inner === undefined || !isClaimedAt(rule, destination)) continue
    const port = pair.single ? pair.inner : pair.inner + dport - pair.external[0]
    const kept = holes
      .filter((hole) => innerOf(hole, family) === inner && isHole(hole.rule, proto, port))
      .map((hole) => sourcesOr(anybody(family), hole.rule.source, hole, spec, family))
    const source = kept.reduce(without, sourcesOr(anybody(family), rule.source, one, spec, family))
    if (result.some((winner) => meet(winner.source, source))) continue
    result.push({ rule, inner, port, source })
  }
  return result
}

/** What guests may not do, and what nobody may, makes a whole rule void. */
function isAllowed({ rule, scope }: Scoped<Forward | Hole>): boolean {
  if (rule.kind === 'forward' && rule.address !== undefined && !isCarried(rule.address, rule.iface))
    return false
  if (typeof scope === 'string')
    return rule.inner !== undefined && (rule.kind === 'hole' || !claimsAny(rule.pairs, NEVER))
  if (rule.inner && !scope.addresses.includes(rule.inner.address)) return false
  return rule.kind === 'hole' || !claimsAny(rule.pairs, RESERVED)
}

/** Of the reserved ports, those that generated rules can name. */
const NEVER: readonly number[] = [22, 8006]
const RESERVED: readonly number[] = [...NEVER, 3128]

function claimsAny(pairs: readonly Pair[], ports: readonly number[]): boolean {
  return pairs.some(
    ({ protos, external }) => protos.includes('tcp') && ports.some((port) => inside(external, port)),
  )
}

export function isCarried(address: string, iface: Forward['iface']): boolean {
  const carriers = INTERFACES.filter(({ external }) => external).filter(
    ({ name }) => iface === undefined || iface.name === name,
  )
  return carriers.some(({ addresses }) => addresses.some((own) => own.startsWith(`${address}/`)))
}

function isClaimedAt({ address, iface }: Forward, destination: string): boolean {
  return (address === undefined || address === destination) && isCarried(destination, iface)
}

function innerOf({ rule, scope }: Scoped<Forward | Hole>, family: Family): string | undefined {
  const all = rule.inner ? [rule.inner.address] : typeof scope === 'string' ? [] : scope.addresses
  return all.find((address) => familyOf(address) === family)
}

function isHole({ pairs }: Hole, proto: Packet['proto'], inner: number): boolean {
  return pairs.some(
    (pair) => pair.protos.includes(proto) && inside([pair.inner, pair.inner + width(pair.external)], inner),
  )
}
