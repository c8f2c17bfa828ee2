/**
 * The plain reading of the rules: what a person who knows the words of the manual would say becomes of a packet. It knows nothing
 * of chains, of src, or of how anything is rendered, and asks one packet at a time.
 */
import { forwarded, fullsOf, isCarried, losesAddress, type Forwarded } from './forwards.ts'
import { inOrder, ofKind, type Scoped } from './scope.ts'
import { anybody, holds, networks, sourcesOr, type Sources } from './sources.ts'
import { inside, type Block, type Egress, type Flows, type Full, type Spec } from './spec.ts'
import type { Packet } from './tracer.ts'
import { EXTERNAL, familyOf, INTERFACES, networkOf, nodeAddress, route } from './world.ts'

export interface Reading extends Forwarded {
  verdict: 'pass' | 'drop' | 'reject'
}

/** Undefined where the manual leaves it open: a guest that reaches itself while a block stops some of what goes out. */
export function read(spec: Spec, packet: Packet): Reading | undefined {
  const { destination, source, dport } = packet
  const asItIs: Reading = { to: destination, port: dport, seenAs: source, mustAccept: false, verdict: 'pass' }
  if (packet.state !== 'NEW') return asItIs
  const rules = inOrder(spec)
  const isForward = EXTERNAL.includes(destination)
  const there = isForward ? forwarded(rules, spec, packet) : asItIs
  if (!there) return asItIs
  const out = route(there.to)
  if (there.to === source && ofKind(rules, 'block').some(({ rule }) => rule.type === 'OUT')) return undefined
  // Neighbours reach each other without the node's leave.
  const isStoppable = out !== 'local' && out !== packet.in
  const block =
    isStoppable &&
    blockOf(rules, spec, { ...packet, destination: there.to, dport: there.port }, out, isForward)
  if (block) {
    const verdict = block.action === 'DROP' ? 'drop' : 'reject'
    return { ...there, seenAs: source, mustAccept: false, verdict }
  }
  const seenAs = isForward ? there.seenAs : (leavesAs(rules, spec, packet, out) ?? source)
  return { ...there, seenAs, verdict: 'pass' }
}

/**
 * Of a node whose uplinks all have a default route: as whom the internet sees a packet that a rule sends by another uplink than the default
 * route's; undefined where none does. To hosts on a wire it leaves by the wire all the same, seen as the node's address there.
 */
export function seenByUplinks(spec: Spec, packet: Packet): string | undefined {
  const rules = inOrder(spec)
  const out = route(packet.destination)
  if (leavesBy(rules, spec, packet, out)) return undefined
  const chosen = INTERFACES.filter(({ name, external }) => external && name !== out).flatMap(({ name }) => {
    const rule = leavesBy(rules, spec, packet, name)?.rule
    return (rule?.kind === 'full' ? rule.address : rule?.to) ?? []
  })
  const isOnWire = networkOf(packet.destination)?.external === true
  return chosen[0] !== undefined && isOnWire ? nodeAddress(out, familyOf(packet.destination)) : chosen[0]
}

function leavesAs(rules: readonly Scoped[], spec: Spec, packet: Packet, out: string): string | undefined {
  const rule = leavesBy(rules, spec, packet, out)?.rule
  if (!rule) return undefined
  return rule.kind === 'full' ? rule.address : (rule.to ?? nodeAddress(out, familyOf(packet.destination)))
}

/** The rule that translates the source of a packet that leaves by an interface. */
function leavesBy(
  rules: readonly Scoped[],
  spec: Spec,
  packet: Packet,
  out: string,
): Scoped<Full | Egress> | undefined {
  const family = familyOf(packet.destination)
  const fulls = fullsOf(rules, spec, family).filter(
    ({ one, inner }) => inner === packet.source && isCarried(one.rule.address, { name: out, word: 'if' }),
  )
  const egresses = ofKind(rules, 'egress').filter(
    (one) => isTranslated(one, spec, packet, out) && !losesAddress(one, rules, spec),
  )
  if (egresses.some(({ rule }) => rule.none)) return undefined
  return [...fulls.map(({ one }) => one), ...egresses].sort(
    (a, b) => indexIn(rules, a) - indexIn(rules, b),
  )[0]
}

function indexIn(rules: readonly Scoped[], one: Scoped): number {
  return rules.findIndex(({ rule, scope }) => rule === one.rule && scope === one.scope)
}

function isTranslated(one: Scoped<Egress>, spec: Spec, packet: Packet, out: string): boolean {
  const { rule, scope } = one
  const isExternal = INTERFACES.some(({ name, external }) => external && name === out)
  if (!isExternal || (rule.iface && rule.iface.name !== out)) return false
  if (rule.to !== undefined) {
    if (familyOf(rule.to) !== familyOf(packet.destination)) return false
    if (!isCarried(rule.to, rule.iface) || !isCarried(rule.to, { name: out, word: 'if' })) return false
  }
  if (typeof scope !== 'string' && rule.source !== undefined && !scope.addresses.includes(rule.source))
    return false
  const own = typeof scope === 'string' ? INTERNAL : scope.addresses
  return fits(rule, one, spec, packet, own, undefined)
}

/** What a cluster or host rule means that names no source (OUT) or no destination (IN). */
const INTERNAL = ['10.10.10.0/24', '10.20.20.0/24', 'fd10::/64', 'fd20::/64']

/** The first block that stops a forwarded packet; what a forward leads into a network is not stopped there. */
function blockOf(
  rules: readonly Scoped[],
  spec: Spec,
  packet: Packet,
  out: string,
  isForward: boolean,
): Block | undefined {
  if (packet.in === undefined) return undefined
  const found = ofKind(rules, 'block').find((one) => {
    const { type, iface } = one.rule
    if (typeof one.scope !== 'string' || (type === 'IN' && isForward)) return false
    if (iface && iface.name !== (type === 'IN' ? packet.in : out)) return false
    return type === 'OUT'
      ? fits(one.rule, one, spec, packet, INTERNAL, undefined)
      : fits(one.rule, one, spec, packet, undefined, INTERNAL)
  })
  return found?.rule
}

function fits(
  { source, dest, proto, ports }: Flows,
  one: Scoped,
  spec: Spec,
  packet: Packet,
  ownSource: readonly string[] | undefined,
  ownDest: readonly string[] | undefined,
): boolean {
  const family = familyOf(packet.destination)
  const own = (texts: readonly string[] | undefined): Sources =>
    texts ? networks(texts, family) : anybody(family)
  return (
    holds(sourcesOr(own(ownSource), source, one, spec, family), packet.source) &&
    holds(sourcesOr(own(ownDest), dest, one, spec, family), packet.destination) &&
    (proto === undefined || proto === packet.proto) &&
    (ports === undefined || ports.some((range) => inside(range, packet.dport)))
  )
}
