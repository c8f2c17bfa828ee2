/**
 * What becomes of one new packet, step by step: where it enters, which rule sends it where, what lets it in, and how the answer
 * comes back. The rules are those that are wanted, walked as the kernel would (walk.ts); each verdict of theirs
 * counts only while the very same rules are in force.
 */
import { contains, type Range } from '../address.ts'
import { routeTo, rpFilter } from '../facts.ts'
import { sysctlCommand } from '../fixes.ts'
import { LOOP_IN, LOOP_OUT } from '../ruleset/loop.ts'
import { deliver, leaveGuest } from './deliver.ts'
import { forward, type Pass } from './forward.ts'
import { requireInForce } from './inforce.ts'
import { toNode } from './node.ts'
import { noteBeaten } from './refusal.ts'
import { endpoint, type Packet } from './packet.ts'
import { follow, type Explanation, type Trail } from './step.ts'
import { walk, type Flow } from './walk.ts'
import {
  externalAt,
  guestAt,
  guestName,
  host,
  internalAt,
  ownInterface,
  placeOf,
  ruleById,
  show,
  type Located,
  type World,
} from './world.ts'

/** More passes than this nothing of ours makes: once through the loop, once behind it. */
const MAX_PASSES = 3

/** The way of a packet that opens a connection. */
export function explain(world: World, packet: Packet): Explanation {
  return follow((trail) => {
    for (const what of world.facts.unread)
      trail.unknown(`Something could not be read, so what rests on it may be wrong: ${what}.`, what)
    const sender = enter(world, packet, trail)
    if (world.facts.policyRouting)
      trail.unknown('This node has rules of policy routing, which explain does not follow.', 'ip rule show')
    if (sender.bridged !== undefined)
      return deliver(world, { packet, out: sender.bridged, trail, bridged: true })
    route(world, packet, sender, trail)
  })
}

export interface Sender {
  /** The interface by which it comes; undefined for the node's own. */
  in?: string
  guest?: Located
  /** It crosses this bridge and is not routed at all. */
  bridged?: string
}

/** Says where the packet comes from and whether it gets as far as the node's routing. */
function enter(world: World, packet: Packet, trail: Trail): Sender {
  const { source, destination } = packet
  const own = ownInterface(world, source)
  if (own !== undefined) {
    trail.pass('This node itself sends it.', `${show(source)} on ${own}`)
    return {}
  }
  const guest = guestAt(world, source)
  if (guest) return { guest, ...leaveGuest(world, guest, packet, trail) }
  const internal = internalAt(world, source)
  if (internal) {
    trail.pass(
      `It comes from the internal network ${show(internal.network)} by ${internal.bridge}; no guest of this node is known to have ${show(source)}.`,
      `${show(internal.address)} on ${internal.bridge}`,
    )
    return neighbours(world, internal.network, destination)
      ? { in: internal.bridge, bridged: internal.bridge }
      : { in: internal.bridge }
  }
  return fromOutside(world, packet, trail)
}

function neighbours(world: World, network: Range, destination: Range): boolean {
  return contains(network, destination) && ownInterface(world, destination) === undefined
}

function fromOutside(world: World, { source, destination }: Packet, trail: Trail): Sender {
  const own = ownInterface(world, destination)
  const back = routeTo(world.facts, source)
  const segment = own === undefined ? externalAt(world, destination) : undefined
  const isExternal = world.view.network.external.some(({ name }) => name === own)
  const dev = (isExternal ? own : segment) ?? back?.dev
  if (dev === undefined)
    trail.stop(`This node has no route to ${show(source)}, so it cannot answer it.`, ['ip route show'])
  trail.pass(
    `It comes from outside by ${dev}.`,
    `${own === undefined ? 'routes' : show(destination)} on ${dev}`,
  )
  if (segment !== undefined) {
    const have = world.view.network.external
      .flatMap(({ addresses }) => addresses)
      .filter((one) => one.family === source.family)
    const guest = guestAt(world, destination)
    const restsOn = have.map((one) => `${show(one)} is an address of this node`)
    if (guest) {
      trail.pass(
        `${show(destination)} is not this node's: the frame crosses ${segment} as it is, to ${guestName(guest)}.`,
        ...restsOn,
      )
      return { in: dev, bridged: segment }
    }
    trail.stop(
      `${show(destination)} is not an address of this node, and no guest here is known to have it; nothing is translated.`,
      restsOn,
      {
        commands: [],
        instead: `call ${have.map(show).join(' or ')}, or give the node that address on ${segment}`,
      },
    )
  }
  const strict = source.family === 4 && rpFilter(world.facts, dev) === 1
  if (strict && back?.dev !== dev) {
    const all = ['all', dev].map(
      (name) =>
        `net.ipv4.conf.${name}.rp_filter = ${world.facts.sysctls.get(`net/ipv4/conf/${name}/rp_filter`)}`,
    )
    trail.stop(
      `Strict reverse path filtering on ${dev} drops it: the route to ${show(source)} leads by ${back?.dev ?? 'nowhere'}.`,
      all,
      { commands: [sysctlCommand(`net/ipv4/conf/${dev}/rp_filter`, 2)] },
    )
  }
  return { in: dev }
}

/** Routing, once or, for a guest that calls itself, twice. */
function route(world: World, packet: Packet, sender: Sender, trail: Trail): void {
  let now: Flow = {
    ...{ family: packet.family, proto: packet.proto, bridged: false, dnat: false },
    ...{ source: packet.source.lo, destination: packet.destination.lo },
    ...(packet.sport === undefined ? {} : { sport: packet.sport }),
    ...(packet.dport === undefined ? {} : { dport: packet.dport }),
    ...(sender.in === undefined ? {} : { in: sender.in }),
    original: {
      destination: packet.destination.lo,
      ...(packet.dport === undefined ? {} : { dport: packet.dport }),
    },
  }
  for (let passes = 1; passes <= MAX_PASSES; passes++) {
    now = translate(world, packet, now, trail)
    const destination = host(now.family, now.destination)
    if (ownInterface(world, destination) !== undefined)
      return toNode(world, { packet, sender, flow: now, trail })
    const pass: Pass = { packet, sender, flow: now, trail }
    const { out, flow } = forward(world, pass)
    if (out !== LOOP_OUT) return arrive(world, packet, flow, out, trail)
    trail.note(
      'A guest that calls itself: the packet goes round by a pair of interfaces and comes back as a routed one.',
      `${LOOP_OUT} and ${LOOP_IN}`,
    )
    now = { ...flow, in: LOOP_IN, dnat: false, original: { destination: flow.destination, ...ports(flow) } }
  }
  trail.stop('It goes round and round.', ['the rules above'])
}

function ports({ dport }: Flow): { dport?: number } {
  return dport === undefined ? {} : { dport }
}

/** The nat table before routing. */
function translate(world: World, packet: Packet, flow: Flow, trail: Trail): Flow {
  const root = flow.in === undefined ? 'PVENAT-OUTPUT' : 'PVENAT-PREROUTING'
  const walked = walk(world.ruleset, 'nat', root, flow)
  const target = walked.hit?.rule.target
  if (!walked.hit || target?.kind !== 'dnat') {
    requireInForce(world, flow.family, 'nat', root, walked, trail)
    return flow
  }
  const { to, port, shiftFrom } = target
  const dport = port === undefined ? flow.dport : port + (shiftFrom ? (flow.dport ?? 0) - shiftFrom[0] : 0)
  const translated: Flow = {
    ...flow,
    destination: to.lo,
    dnat: true,
    ...(dport === undefined ? {} : { dport }),
  }
  const rule = ruleById(world, walked.hit.rule.serves)
  const kernel = `nat ${walked.hit.chain.name} rule ${walked.hit.index + 1}`
  const there = endpoint(flow.family, to.lo, dport)
  if (rule)
    trail.pass(
      `The forward of ${placeOf(rule)} sends it to ${there}.`,
      `${placeOf(rule)}: ${rule.comment}`,
      kernel,
    )
  else trail.pass(`It is sent to ${there}.`, kernel)
  requireInForce(world, flow.family, 'nat', root, walked, trail)
  if (rule) noteBeaten(world, packet, rule, trail)
  return translated
}

/** Behind the node: a guest, or whoever is outside. */
function arrive(world: World, packet: Packet, flow: Flow, out: string, trail: Trail): void {
  const seen: Packet = {
    ...packet,
    source: host(flow.family, flow.source),
    destination: host(flow.family, flow.destination),
    ...ports(flow),
  }
  const isInner =
    internalAt(world, seen.destination) !== undefined || guestAt(world, seen.destination) !== undefined
  if (isInner) return deliver(world, { packet: seen, out, trail, bridged: false })
  trail.note(
    `It leaves this node; whether ${endpoint(seen.family, seen.destination.lo, seen.dport)} answers cannot be read here.`,
    `routes: ${show(seen.destination)} by ${out}`,
  )
}
