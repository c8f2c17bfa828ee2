/** Whether what a guest sends comes to this node, where translations are undone. */
import { contains, formatRange as show, network, type Range } from '../address.ts'
import { capital } from '../checks/finding.ts'
import { isOfGuest, pastNode, shownClients, wayBack } from '../checks/gateway.ts'
import { configOf } from '../checks/guests.ts'
import { bridgeNetfilter } from '../facts/node-facts.ts'
import { gatewayOf, hasNoGateway } from '../guest/guest.ts'
import { inwardTo } from '../network.ts'
import { networkUnanswered } from '../sentences.ts'
import { dotted } from '../sysctls.ts'
import type { Packet } from './packet.ts'
import type { Trail } from './step.ts'
import { guestName, internalAt, ownInterface, segmentOf, type Located, type World } from './world.ts'

/** Whether the answer comes back through this node, where the translation is undone. */
export function checkAnswer(world: World, guest: Located, packet: Packet, trail: Trail): void {
  const here = internalAt(world, packet.destination)
  const around = here?.network ?? ownNetwork(guest, packet)
  if (around && contains(around, packet.source)) {
    const own = ownInterface(world, packet.source)
    const to =
      own === undefined ? `${show(packet.source)}, its neighbour` : `this node's own ${show(packet.source)}`
    return trail.pass(`The answer goes to ${to}.`, `${show(around)} on ${here?.bridge ?? guest.nic.bridge}`)
  }
  checkGateway(world, guest, packet, trail, 'answers')
}

/** Whether what a guest sends out of its own network comes to this node. */
export function checkGateway(
  world: World,
  located: Located,
  packet: Packet,
  trail: Trail,
  does: 'sends' | 'answers',
): void {
  const { view, facts, translation } = world
  const { guest, nic } = located
  const { family } = packet
  const isSending = does === 'sends'
  const own = isSending ? packet.source : packet.destination
  const way = gatewayOf(guest, nic, family)
  const name = guestName(located)
  const read = configOf({ guest, nic: way?.nic ?? nic })
  const shown = isSending ? [] : shownClients(translation.rules, own, packet.proto)
  const { gateway, snat, advice } = wayBack(world, located, own, shown)
  const commands = snat.length > 0 || gateway === undefined ? snat : [gateway]
  const fix = { commands, instead: advice }
  if (!way) {
    if (hasNoGateway(guest, family))
      trail.stop(
        `${capital(name)} has no gateway, so ${isSending ? 'it reaches its own network only' : 'its answer never leaves its network'}.`,
        [read],
        fix,
      )
    return trail.unknown(
      `The config of ${name} names no gateway; which it uses cannot be read from the node.`,
      read,
    )
  }
  const names = `${read}: ${show(way.gateway)}`
  if (ownInterface(world, way.gateway) !== undefined)
    return trail.pass(`What ${name} ${does} comes to this node: its gateway is ${show(way.gateway)}.`, names)
  const isGuests = (address: Range): boolean => isOfGuest(view, address)
  const past = pastNode(view, isGuests, located, family, does)
  if (!past)
    return trail.doubt(
      `What ${name} ${does} goes to ${show(way.gateway)}; whether it comes from there to this node cannot be read here.`,
      names,
    )
  const sentence = `${capital(past.sentence)}.`
  const meets = bridgeNetfilter(family)
  if (past.isBridged && facts.sysctls.get(meets) === '1')
    return trail.doubt(sentence, names, `${dotted(meets)} = 1`)
  const inner = internalAt(world, own)?.address
  trail.stop(sentence, [names, ...(inner ? [`${show(inner)} is this node's address there`] : [])], fix)
}

/** On the wire outside somebody has to answer for an address of a mapped network, for packets that come in as for answers. */
export function requireAnswered(world: World, address: Range, mapped: Range, trail: Trail): void {
  const segment = segmentOf(world, address)
  if (segment === undefined || inwardTo(world.view.network, mapped)) return
  const network = show(mapped)
  const [, help = '', commands = []] = networkUnanswered({ network, family: mapped.family })
  trail.stop(
    `${show(address)} is called on the wire of ${segment}, where this node does not answer for ${network}.`,
    ['ip route show table local'],
    commands.length > 0
      ? { commands: commands.flatMap((one) => one ?? []) }
      : { commands: [], instead: help },
  )
}

/** The network that a guest takes for its own. */
export function ownNetwork({ nic }: Located, { family }: Packet): Range | undefined {
  const own = nic.addresses[family]
  return own && network(family, own.ip.lo, own.prefix)
}
