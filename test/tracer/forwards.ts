/** Which forward holds an external address and port, and where it leads. */
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import type { Family } from './ip.ts'
import { ofKind, type Scoped } from './scope.ts'
import { inside, width, type Forward, type Full, type Hole, type Pair, type Spec } from './spec.ts'
import { anybody, holds, meet, networks, sourcesOr, without, type Sources } from './sources.ts'
import type { Packet } from './tracer.ts'
import { EXTERNAL, familyOf, INTERFACES, networkOf, nodeAddress, route } from './world.ts'

export interface Forwarded {
  to: string
  port: number
  seenAs: string
  /** pve-firewall would drop it on the guest's firewall bridge. */
  mustAccept: boolean
}

export function forwarded(rules: readonly Scoped[], spec: Spec, packet: Packet): Forwarded | undefined {
  const holder = [...holders(rules, spec, packet), ...fullHolders(rules, spec, packet)].find(({ source }) =>
    holds(source, packet.source),
  )
  // hairpin=0 closes its ports to the inside; full=1 does not open them.
  if (!holder || (!isOutside(packet) && !holder.rule.hairpin)) return undefined
  const { inner, port, rule } = holder
  const network = networkOf(inner)
  const isNeighbour = network !== undefined && !network.external && networkOf(packet.source) === network
  const isHidden = rule.snat || isNeighbour
  const seenAs = isHidden ? nodeAddress(route(inner), familyOf(inner)) : packet.source
  return { to: inner, port, seenAs, mustAccept: rule.kind === 'forward' && rule.accept }
}

function isOutside({ in: by }: Packet): boolean {
  return INTERFACES.some(({ name, external }) => external && name === by)
}

interface Holder {
  rule: Forward | Full
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
  const byPriority = inwards(rules)
  const fulls = fullsOf(rules, spec, family).filter(({ one }) => one.rule.address === destination)
  const holes = ofKind(rules, 'hole').filter((one) => isAllowed(one))
  const result: Holder[] = []
  for (const one of byPriority) {
    const { rule } = one
    if (rule.kind === 'full') continue
    const pair = rule.pairs.find(({ protos, external }) => protos.includes(proto) && inside(external, dport))
    const inner = innerOf(one, family)
    if (!pair || inner === undefined || !isClaimedAt(rule, destination)) continue
    const port = pair.single ? pair.inner : pair.inner + dport - pair.external[0]
    const kept = holes
      .filter((hole) => innerOf(hole, family) === inner && isHole(hole.rule, proto, port))
      .map((hole) => sourcesOr(anybody(family), hole.rule.source, hole, spec, family))
    const source = kept.reduce(without, sourcesOr(anybody(family), rule.source, one, spec, family))
    if (result.some((winner) => meet(winner.source, source))) continue
    const others = fulls.filter((full) => keepsOut(full, one, inner, spec))
    if (others.some((full) => meet(full.source, source))) continue
    result.push({ rule, inner, port, source })
  }
  return result
}

/** Whether full=1 is a right against another guest's forward: the administrator's always, a guest's when it was there before. */
function keepsOut({ one: full, inner }: FullHolder, { scope }: Scoped, to: string, spec: Spec): boolean {
  if (typeof scope === 'string' || inner === to) return false
  return typeof full.scope === 'string' || (spec.fullsCameFirst === true && full.scope.vmid !== scope.vmid)
}

/** Forwards that count, the administrator's before those of guests. */
function inwards(rules: readonly Scoped[]): Scoped<Forward | Full>[] {
  const all = rules.filter(
    (one): one is Scoped<Forward | Full> =>
      (one.rule.kind === 'forward' || one.rule.kind === 'full') && isAllowed(one as Scoped<Forward | Full>),
  )
  return [
    ...all.filter(({ scope }) => typeof scope === 'string'),
    ...all.filter(({ scope }) => typeof scope !== 'string'),
  ]
}

interface FullHolder {
  one: Scoped<Full>
  inner: string
  source: Sources
}

/** Those of full=1 that are in force: two of them with a client in common cannot have the same address. */
export function fullsOf(rules: readonly Scoped[], spec: Spec, family: Family): FullHolder[] {
  const result: FullHolder[] = []
  for (const one of inwards(rules)) {
    const { rule } = one
    if (rule.kind !== 'full' || familyOf(rule.address) !== family) continue
    const inner = innerOf({ ...one, rule }, family)
    const source = sourcesOr(anybody(family), rule.source, one, spec, family)
    if (inner === undefined || !meet(source, source)) continue
    const rivals = result.filter((other) => other.one.rule.address === rule.address)
    if (losesAddress(one, rules, spec) || rivals.some((other) => meet(other.source, source))) continue
    result.push({ one: one as Scoped<Full>, inner, source })
  }
  return result
}

/**
 * Among guests an external address is either one guest's by full=1 or many guests' by SNAT; the first rule decides. Whether
 * this one came too late.
 */
export function losesAddress({ rule, scope }: Scoped, rules: readonly Scoped[], spec: Spec): boolean {
  const late = lateOf.get(spec) ?? lateRules(rules, spec)
  lateOf.set(spec, late)
  return typeof scope !== 'string' && late.get(rule)?.has(scope.vmid) === true
}

type Late = Map<Scoped['rule'], Set<number>>

/** A spec is asked for many packets. */
const lateOf = new WeakMap<Spec, Late>()

function lateRules(rules: readonly Scoped[], spec: Spec): Late {
  const held: { vmid: number; address: string; isFull: boolean }[] = []
  const late: Late = new Map()
  const inTurn = spec.fullsCameFirst ? [...ofKind(rules, 'full'), ...ofKind(rules, 'egress')] : rules
  for (const one of inTurn) {
    const { rule, scope } = one
    const address = rule.kind === 'full' ? rule.address : rule.kind === 'egress' ? rule.to : undefined
    if (typeof scope === 'string' || address === undefined || !counts(one, address, spec)) continue
    const isFull = rule.kind === 'full'
    const isLost = held.some(
      (other) => other.vmid !== scope.vmid && other.address === address && (isFull || other.isFull),
    )
    if (isLost) late.set(rule, (late.get(rule) ?? new Set()).add(scope.vmid))
    else held.push({ vmid: scope.vmid, address, isFull })
  }
  return late
}

/** Whether a guest's rule that names an external address stands at all. */
function counts(one: Scoped, address: string, spec: Spec): boolean {
  const { rule, scope } = one
  if (typeof scope === 'string') return false
  const family = familyOf(address)
  if (rule.kind === 'full') {
    const source = sourcesOr(anybody(family), rule.source, one, spec, family)
    const full = { ...one, rule }
    return isAllowed(full) && innerOf(full, family) !== undefined && meet(source, source)
  }
  if (rule.kind !== 'egress' || !isCarried(address, rule.iface)) return false
  if (rule.source !== undefined && !scope.addresses.includes(rule.source)) return false
  const source = sourcesOr(networks(scope.addresses, family), rule.source, one, spec, family)
  const dest = sourcesOr(anybody(family), rule.dest, one, spec, family)
  return meet(source, source) && meet(dest, dest)
}

/** What full=1 takes behind all other forwards, without its guest's exemptions. */
function fullHolders(rules: readonly Scoped[], spec: Spec, packet: Packet): Holder[] {
  const { destination, proto, dport } = packet
  // What the node itself asks its own address for stays there.
  if (isMain(destination) && packet.in === undefined) return []
  const family = familyOf(destination)
  const holes = ofKind(rules, 'hole').filter((one) => isAllowed(one))
  return fullsOf(rules, spec, family)
    .filter(({ one }) => one.rule.address === destination && !isKept(destination, proto, dport))
    .map(({ one, inner, source }) => {
      const kept = holes
        .filter((hole) => innerOf(hole, family) === inner && isHole(hole.rule, proto, dport))
        .map((hole) => sourcesOr(anybody(family), hole.rule.source, hole, spec, family))
      return { rule: one.rule, inner, port: dport, source: kept.reduce(without, source) }
    })
}

/** The node's own address is the one that the kernel would choose: the first of the first uplink. */
function isMain(address: string): boolean {
  return EXTERNAL.find((one) => familyOf(one) === familyOf(address)) === address
}

/** Ports that the node keeps of its own address. */
function isKept(address: string, proto: string, port: number | undefined): boolean {
  const isReserved = DEFAULT_SETTINGS.reserved.some(
    (one) => one.proto === proto && port !== undefined && inside(one.ports, port),
  )
  return isMain(address) && isReserved
}

/** What guests may not do, and what nobody may, makes a whole rule void. */
function isAllowed({ rule, scope }: Scoped<Forward | Full | Hole>): boolean {
  if (rule.kind === 'full' && typeof scope !== 'string' && isMain(rule.address)) return false
  if (rule.kind !== 'hole' && rule.address !== undefined && !isCarried(rule.address, rule.iface)) return false
  if (typeof scope === 'string')
    return rule.inner !== undefined && (rule.kind !== 'forward' || !claimsAny(rule.pairs, NEVER))
  if (rule.inner && !scope.addresses.includes(rule.inner.address)) return false
  return rule.kind !== 'forward' || !claimsAny(rule.pairs, RESERVED)
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

function innerOf({ rule, scope }: Scoped<Forward | Full | Hole>, family: Family): string | undefined {
  const all = rule.inner ? [rule.inner.address] : typeof scope === 'string' ? [] : scope.addresses
  return all.find((address) => familyOf(address) === family)
}

function isHole({ pairs }: Hole, proto: Packet['proto'], inner: number): boolean {
  return pairs.some(
    (pair) => pair.protos.includes(proto) && inside([pair.inner, pair.inner + width(pair.external)], inner),
  )
}
