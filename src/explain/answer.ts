/** Whether what a guest sends comes to this node, where translations are undone. */
import { contains, formatRange as show, network, sameRange, type Range } from '../address.ts'
import { gatewayOf } from '../guest/guest.ts'
import { gatewayCommand, quoted, withOption } from '../facts/fixes.ts'
import { snatNeeds } from '../nat/policy.ts'
import { inwardTo } from '../network.ts'
import { isLetOut } from '../nat/sources.ts'
import { networkUnanswered } from '../sentences.ts'
import { dotted } from '../sysctls.ts'
import type { Packet } from './packet.ts'
import type { Fix, Trail } from './step.ts'
import {
  apiOf,
  capital,
  guestName,
  internalAt,
  isExternal,
  ownInterface,
  placeOf,
  segmentOf,
  type Located,
  type World,
} from './world.ts'

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
  guest: Located,
  packet: Packet,
  trail: Trail,
  verb: 'sends' | 'answers',
): void {
  const { owned, nic } = guest
  const { family } = packet
  const isSending = verb === 'sends'
  const way = gatewayOf(owned.guest, nic, family)
  const name = guestName(guest)
  const by = way?.nic ?? nic
  const read = `config of guest ${owned.guest.vmid} (net${by.index})`
  const inner = internalAt(world, isSending ? packet.source : packet.destination)?.address
  if (!way) {
    if (owned.guest.type === 'lxc' && nic.addresses[family] && family === 4)
      trail.stop(
        `${capital(name)} has no gateway, so ${isSending ? 'it reaches its own network only' : 'its answer never leaves its network'}.`,
        [read],
        gatewayFix(world, guest, packet, inner, isSending),
      )
    return trail.unknown(
      `The config of ${name} names no gateway; which it uses cannot be read from the node.`,
      read,
    )
  }
  const { gateway } = way
  if (ownInterface(world, gateway) !== undefined)
    return trail.pass(
      `What ${name} ${verb} comes to this node: its gateway is ${show(gateway)}.`,
      `${read}: ${show(gateway)}`,
    )
  const goes = `What ${name} ${verb} goes ${by === nic ? '' : `by net${by.index} `}to ${show(gateway)}, not to this node`
  const meets = `net/bridge/bridge-nf-call-${family === 4 ? 'iptables' : 'ip6tables'}`
  if (!isSending && by !== nic && isExternal(world, by.bridge) && world.facts.sysctls.get(meets) === '1')
    return trail.doubt(
      `${goes}; it is translated back only because frames that cross ${by.bridge ?? ''} meet iptables.`,
      `${read}: ${show(gateway)}`,
      `${dotted(meets)} = 1`,
    )
  trail.stop(
    `${goes}, so ${isSending ? 'nothing here translates it' : 'the answer is not translated back'}.`,
    [`${read}: ${show(gateway)}`, ...(inner ? [`${show(inner)} is this node's address there`] : [])],
    gatewayFix(world, guest, packet, inner, isSending),
  )
}

/** The node's address for a gateway, where it has one there; or, for an answer, snat=1 at the forward that led to the guest, if it may. */
function gatewayFix(
  world: World,
  { owned, nic }: Located,
  { family, proto, source, destination }: Packet,
  inner: Range | undefined,
  isSending: boolean,
): Fix {
  const config = world.configs.get(owned.guest.vmid) ?? ''
  // With a gateway on another NIC a second one would compete.
  const isAlone = (gatewayOf(owned.guest, nic, family)?.nic ?? nic) === nic
  // Without an OUT rule the other gateway is its only way out.
  const own = isSending ? source : destination
  const goesOut = isLetOut(world.translation.rules, own)
  const line = inner && isAlone ? gatewayCommand(owned.guest, nic, family, config, inner) : undefined
  const set = line !== undefined && goesOut ? [line] : []
  const forward = world.translation.rules.find(
    ({ state, forwards }) =>
      !isSending &&
      state === 'active' &&
      forwards.some((one) => sameRange(one.inner, destination) && ['all', proto].includes(one.proto)),
  )
  const api = forward && apiOf(world, forward)
  if (!forward || api === undefined) {
    const first = goesOut ? '' : 'give the guest a rule OUT ACCEPT # NAT, then '
    return { commands: set, instead: `${first}make this node the gateway of the guest` }
  }
  const needs = snatNeeds(forward.scope, world.view)
  if (needs !== undefined) {
    const instead = `write ${needs} into pvenat.conf and snat=1 into the comment of ${placeOf(forward)}`
    return { commands: set, instead }
  }
  return {
    commands: [`pvesh set ${api} --comment ${quoted(withOption(forward.comment, 'snat=1'))}`],
    instead: `write snat=1 into the comment of ${placeOf(forward)}, or make this node the gateway of the guest${set.map((line) => `: ${line}`).join('')}`,
  }
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
