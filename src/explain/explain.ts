/**
 * What becomes of one new packet, step by step: where it enters, which rule sends it where, what lets it in, and how the answer
 * comes back. The rules are those that are wanted, walked as the kernel would (walk.ts); each verdict of theirs
 * counts only while the very same rules are in force.
 */
import { contains, formatRange as show, mappedInto, type Range } from '../address.ts'
import { capital } from '../checks/finding.ts'
import { strictFilter } from '../checks/kernel.ts'
import { LOOP_IN, LOOP_OUT } from '../ruleset/self-hairpin.ts'
import { requireAnswered } from './answer.ts'
import { deliver, leaveGuest } from './deliver.ts'
import { forward, requireUp } from './forward.ts'
import type { Pass } from './pass.ts'
import { requireInForce } from './in-sync.ts'
import { wayTo } from './kernel-way.ts'
import { toNode } from './node.ts'
import { endpoint, type Packet } from './packet.ts'
import { checkArrival, checkTranslated, requireTracked, takenByOthers } from './others.ts'
import { noteBeaten } from './refusal.ts'
import { follow, type Explanation, type Trail } from './step.ts'
import { enterBy, ruleName, walk, type Flow } from './walk.ts'
import {
  astrayAt,
  asTyped,
  guestAt,
  guestName,
  internalAt,
  isExternal,
  ownInterface,
  placeOf,
  ruleById,
  segmentOf,
  type Sender,
  type World,
} from './world.ts'
import { explainAnswer } from './uplink.ts'

/** More passes than this nothing of ours makes: once through the loop, once behind it. */
const MAX_PASSES = 3

/** The way of a packet that opens a connection. */
export function explain(world: World, packet: Packet): Explanation {
  return follow((trail) => {
    for (const what of world.facts.unread)
      trail.unknown(`Something could not be read, so what rests on it may be wrong: ${what}.`, what)
    const sender = enter(world, packet, trail)
    if (sender.bridged !== undefined)
      return deliver(world, { packet, out: sender.bridged, trail, bridged: true })
    route(world, packet, sender, trail)
  })
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
  const astray = astrayAt(world, source)
  if (astray)
    trail.stop(
      `${capital(astray.name)} has ${show(source)} in its config, and it does not come from there: ${astray.why}.`,
      [astray.name],
      { commands: [], instead: 'give this node an address there; pvenat check says where' },
    )
  const internal = internalAt(world, source)
  if (!internal) return fromOutside(world, packet, trail)
  const { network, address } = internal
  const dev = internal.bridge || wayTo(world, source, trail)
  if (dev === undefined) noWayBack(source, dev, trail)
  trail.pass(
    `It comes from the internal network ${show(network)} by ${dev}; no guest of this node is known to have ${show(source)}.`,
    `${address ? show(address) : 'routes'} on ${dev}`,
  )
  const isNeighbour = contains(network, destination) && ownInterface(world, destination) === undefined
  return isNeighbour ? { in: dev, bridged: dev } : { in: dev }
}

function fromOutside(world: World, packet: Packet, trail: Trail): Sender {
  const { source, destination, family } = packet
  const own = ownInterface(world, destination)
  const back = wayTo(world, source, trail)
  const mapped = own === undefined ? mappedNetwork(world, packet) : undefined
  const segment = own === undefined && !mapped ? segmentOf(world, destination) : undefined
  if (mapped) requireAnswered(world, destination, mapped, trail)
  const dev = (isExternal(world, own) ? own : segment) ?? back
  if (dev === undefined) noWayBack(source, dev, trail)
  trail.pass(
    `It comes from outside by ${dev}.`,
    `${own === undefined ? 'routes' : show(destination)} on ${dev}`,
  )
  if (segment !== undefined) return onSegment(world, packet, segment, trail)
  if (family === 4 && back !== dev)
    trail.stopFor(strictFilter(world.facts, dev), {
      restsOn: [`ip route get ${show(source)}: by ${back ?? 'nothing'}`],
    })
  return { in: dev }
}

/** The network, mapped as a whole, in which the destination is. */
function mappedNetwork({ translation }: World, { family, destination }: Packet): Range | undefined {
  const networks = translation.dispatch[family].addresses.map(({ address }) => address)
  return networks.find((one) => one.lo < one.hi && contains(one, destination))
}

/** For somebody else on the wire outside: a guest with an address there, or nobody that is known. */
function onSegment(world: World, { destination, family }: Packet, segment: string, trail: Trail): Sender {
  const have = world.view.network.external
    .flatMap(({ addresses }) => addresses)
    .filter((one) => one.family === family)
  const guest = guestAt(world, destination)
  const restsOn = have.map((one) => `${show(one)} is an address of this node`)
  if (!guest)
    trail.stop(
      `${show(destination)} is not an address of this node, and no guest here is known to have it; nothing is translated.`,
      restsOn,
      {
        commands: [],
        instead: `call ${have.map(show).join(' or ')}, or give the node that address on ${segment}`,
      },
    )
  trail.pass(
    `${show(destination)} is not this node's: the frame crosses ${segment} as it is, to ${guestName(guest)}.`,
    ...restsOn,
  )
  return { in: segment, bridged: segment }
}

/** The answer needs a route, too: to the client, or back into the network of a guest. */
function requireWayBack(world: World, { source }: Packet, trail: Trail): void {
  if (world.facts.policyRouting) return
  const back = wayTo(world, source, trail)
  const own = internalAt(world, source)
  const isAstray = own !== undefined && own.bridge !== back && isExternal(world, back)
  if (back !== undefined && !isAstray) return
  noWayBack(source, back, trail)
}

function noWayBack(source: Range, dev: string | undefined, trail: Trail): never {
  const why = dev === undefined ? 'there is no way' : `the way leads outside, by ${dev}`
  return trail.stop(`The answer does not come back to ${show(source)}: ${why}.`, [
    `ip route get ${show(source)}`,
  ])
}

/** Routing, once or, for a guest that calls itself, twice. */
function route(world: World, packet: Packet, sender: Sender, trail: Trail): void {
  if (sender.in !== undefined) {
    requireUp(world.facts, sender.in, trail)
    requireWayBack(world, packet, trail)
  }
  let now = enterBy(packet, sender.in)
  for (let passes = 1; passes <= MAX_PASSES; passes++) {
    now = { ...now, untracked: checkArrival(world, now, trail) }
    const pass: Pass = { packet, sender, flow: translate(world, packet, now, trail), trail }
    checkTranslated(world, pass.flow, trail)
    if (ownInterface(world, pass.flow.destination) !== undefined) return toNode(world, pass)
    const { out, flow } = forward(world, pass)
    if (out !== LOOP_OUT) return arrive(world, packet.source, flow, out, trail)
    trail.note(
      'A guest that calls itself: the packet goes round by a pair of interfaces and comes back as a routed one.',
      `${LOOP_OUT} and ${LOOP_IN}`,
    )
    now = enterBy(flow, LOOP_IN)
  }
  trail.stop('It goes round and round.', ['the rules above'])
}

/** The nat table before routing. */
function translate(world: World, packet: Packet, flow: Flow, trail: Trail): Flow {
  const root = flow.in === undefined ? 'PVENAT-OUTPUT' : 'PVENAT-PREROUTING'
  const walked = walk(world.ruleset, root, flow)
  const { hit } = walked
  const target = hit?.rule.target
  const isOurs = target?.kind === 'dnat' || target?.kind === 'netmap'
  const others = isOurs ? takenByOthers(world, flow, true) : undefined
  if (others !== undefined)
    trail.doubt("A rule that is not pvenat's translates it, too, and may come first.", others)
  if (!hit || !isOurs) {
    requireInForce(world, flow.family, walked, trail)
    return flow
  }
  const { port, shiftFrom } = target.kind === 'dnat' ? target : {}
  const to = mappedInto(target.to, flow.destination)
  const dport = port === undefined ? flow.dport : port + (shiftFrom ? (flow.dport ?? 0) - shiftFrom[0] : 0)
  const rule = ruleById(world, hit.rule.serves)
  requireTracked(flow, trail)
  trail.pass(
    `${rule ? `The forward of ${placeOf(rule)} sends it` : 'It is sent'} to ${endpoint(to, dport)}.`,
    ...(rule ? [asTyped(rule)] : []),
    ruleName(hit),
  )
  requireInForce(world, flow.family, walked, trail)
  if (rule) noteBeaten(world, packet, rule, trail)
  return { ...flow, destination: to, dport, dnat: true }
}

/** Behind the node: a guest, or a host outside. `client`: who sent it, whom a guest may not see. */
function arrive(world: World, client: Range, flow: Flow, out: string, trail: Trail): void {
  const { destination, dport } = flow
  if (internalAt(world, destination) ?? guestAt(world, destination))
    return deliver(world, { packet: flow, out, trail, bridged: false }, () =>
      explainAnswer(world, { ...flow, source: client }, out, trail),
    )
  trail.note(
    `It leaves this node; whether ${endpoint(destination, dport)} answers cannot be read here.`,
    `routes: ${show(destination)} by ${out}`,
  )
}
