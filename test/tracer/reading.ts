/**
 * The plain reading of the rules: what a person who knows the words of the manual would say becomes of a packet. It knows nothing
 * of chains, of src, or of how anything is rendered, and asks one packet at a time.
 */
import { span, type Family, type Span } from './ip.ts'
import type { Block, Egress, Flows, Forward, Hole, Line, Names, Pair, Ports, Rule, Spec } from './spec.ts'
import type { Fate, Packet } from './tracer.ts'
import {
  EXTERNAL,
  familyOf,
  GUESTS,
  INTERFACES,
  networkOf,
  nodeAddress,
  route,
  type WorldGuest,
} from './world.ts'

type Scope = 'cluster' | 'host' | WorldGuest

/** A rule in one scope: a group's rule speaks for whoever pulls it in. */
interface Scoped<R extends Rule = Rule> {
  rule: R
  scope: Scope
  /** The file whose names come before those of cluster.fw. */
  own: Names | undefined
}

/** `mustAccept`: pve-firewall would drop it on the guest's firewall bridge. */
export interface Reading extends Omit<Fate, 'accepted'> {
  verdict: 'pass' | 'drop' | 'reject'
  mustAccept: boolean
}

/** Undefined where the manual leaves it open: a guest that reaches itself while a block stops some of what goes out. */
export function read(spec: Spec, packet: Packet): Reading | undefined {
  const { destination, source, dport } = packet
  const asItIs: Reading = { to: destination, port: dport, seenAs: source, verdict: 'pass', mustAccept: false }
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
  if (block)
    return {
      ...there,
      seenAs: source,
      verdict: block.action === 'DROP' ? 'drop' : 'reject',
      mustAccept: false,
    }
  return isForward ? there : withSource(there, rules, spec, packet, out)
}

function withSource(
  there: Reading,
  rules: readonly Scoped[],
  spec: Spec,
  packet: Packet,
  out: string,
): Reading {
  return { ...there, seenAs: leavesAs(rules, spec, packet, out) ?? there.seenAs }
}

/** Guests by VMID, then host.fw, then cluster.fw; the lines of a file in order. */
function inOrder({ guests, host, cluster, groups }: Spec): Scoped[] {
  const scoped = (lines: readonly Line[], scope: Scope, own: Names | undefined): Scoped[] =>
    lines.flatMap((line): Scoped[] => {
      if (line.off) return []
      if (line.kind !== 'group') return [{ rule: line, scope, own }]
      return (groups[line.name] ?? [])
        .filter(({ off }) => !off)
        .map((rule) => ({ rule, scope, own: undefined }))
    })
  return [
    ...GUESTS.flatMap((guest) => {
      const file = guests[guest.vmid]
      return file ? scoped(file.lines, guest, file.names) : []
    }),
    ...scoped(host, 'host', undefined),
    ...scoped(cluster, 'cluster', undefined),
  ]
}

function ofKind<K extends Rule['kind']>(
  rules: readonly Scoped[],
  kind: K,
): Scoped<Extract<Rule, { kind: K }>>[] {
  return rules.filter(({ rule }) => rule.kind === kind) as Scoped<Extract<Rule, { kind: K }>>[]
}

// Forwards

function forwarded(rules: readonly Scoped[], spec: Spec, packet: Packet): Reading | undefined {
  const holder = holders(rules, spec, packet).find(({ source }) => holds(source, packet.source))
  if (!holder) return undefined
  const { inner, port, rule } = holder
  if (!isOutside(packet) && !rule.hairpin) return undefined
  const network = networkOf(inner)
  const isNeighbour = network !== undefined && !network.external && networkOf(packet.source) === network
  const isHidden = rule.snat || isNeighbour
  const seenAs = isHidden ? nodeAddress(route(inner), familyOf(inner)) : packet.source
  return { to: inner, port, seenAs, verdict: 'pass', mustAccept: rule.accept }
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

function isCarried(address: string, iface: Forward['iface']): boolean {
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

function sourcesOr(
  otherwise: Sources,
  text: string | undefined,
  one: Scoped,
  spec: Spec,
  family: Family,
): Sources {
  return text === undefined ? otherwise : sources(text, one, spec, family)
}

function isHole({ pairs }: Hole, proto: Packet['proto'], inner: number): boolean {
  return pairs.some(
    (pair) => pair.protos.includes(proto) && inside([pair.inner, pair.inner + width(pair.external)], inner),
  )
}

// What goes out, and what is stopped

function leavesAs(rules: readonly Scoped[], spec: Spec, packet: Packet, out: string): string | undefined {
  const found = ofKind(rules, 'egress').filter((one) => isTranslated(one, spec, packet, out))
  const first = found.find(({ rule }) => !rule.none)
  if (!first || found.some(({ rule }) => rule.none)) return undefined
  return first.rule.to ?? nodeAddress(out, familyOf(packet.destination))
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
    texts ? ofParts(listParts(texts.join(), undefined, spec.names), family) : anybody(family)
  return (
    holds(sourcesOr(own(ownSource), source, one, spec, family), packet.source) &&
    holds(sourcesOr(own(ownDest), dest, one, spec, family), packet.destination) &&
    (proto === undefined || proto === packet.proto) &&
    (ports === undefined || ports.some((range) => inside(range, packet.dport)))
  )
}

// Addresses and ports

/** Addresses of one family; `edges` holds one address of every stretch in which all are in or all are out. */
interface Sources {
  edges: readonly bigint[]
  has(address: bigint): boolean
}

function anybody(family: Family): Sources {
  return ofParts([{ ...span(family === 4 ? '0.0.0.0/0' : '::/0'), nomatch: false }], family)
}

interface Part extends Span {
  nomatch: boolean
}

function sources(text: string, { own }: Scoped, { names }: Spec, family: Family): Sources {
  return text.startsWith('+')
    ? ofParts(setParts(text.slice(1), own, names), family)
    : ofParts(listParts(text, own, names), family)
}

/** Of the parts around an address the smallest decides. */
function ofParts(all: readonly Part[], family: Family): Sources {
  const size = ({ lo, hi }: Part): bigint => hi - lo
  const parts = all.filter((part) => part.family === family).sort((a, b) => (size(a) < size(b) ? -1 : 1))
  return {
    edges: parts.flatMap(({ lo, hi }) => [lo, hi + 1n]),
    has: (address) => parts.find(({ lo, hi }) => lo <= address && address <= hi)?.nomatch === false,
  }
}

function listParts(text: string, own: Names | undefined, names: Names): Part[] {
  return text
    .split(',')
    .map((item) => ({ ...span(/[.:]/.test(item) ? item : alias(item, own, names)), nomatch: false }))
}

function setParts(text: string, own: Names | undefined, names: Names): Part[] {
  const { name, files } = lookup(text, own, names)
  const file = files.find(({ sets }) => sets[name])
  const inner = file === own ? own : undefined
  return (file?.sets[name] ?? []).flatMap(({ text: entry, nomatch }) =>
    listParts(entry, inner, names).map((part) => ({ ...part, nomatch })),
  )
}

function alias(text: string, own: Names | undefined, names: Names): string {
  const { name, files } = lookup(text, own, names)
  const cidr = files.find(({ aliases }) => aliases[name] !== undefined)?.aliases[name]
  if (cidr === undefined) throw new Error(`generated rules name only what exists, not ${text}`)
  return cidr
}

/** The guest's own names come first, unless the text says where. */
function lookup(text: string, own: Names | undefined, names: Names): { name: string; files: Names[] } {
  const [name = '', where] = text.split('/').reverse()
  return { name, files: [...(own && where !== 'dc' ? [own] : []), ...(where === 'guest' ? [] : [names])] }
}

function holds(all: Sources, address: string): boolean {
  return all.has(span(address).lo)
}

function without(all: Sources, hole: Sources): Sources {
  return {
    edges: [...all.edges, ...hole.edges],
    has: (address) => all.has(address) && !hole.has(address),
  }
}

function meet(a: Sources, b: Sources): boolean {
  return [...a.edges, ...b.edges].some((address) => a.has(address) && b.has(address))
}

function inside([lo, hi]: Ports, port: number): boolean {
  return lo <= port && port <= hi
}

function width([lo, hi]: Ports): number {
  return hi - lo
}
