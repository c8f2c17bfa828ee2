/** Between the node and its guests: the firewall bridge, pve-firewall, the wire, and the way back. */
import { contains, formatRange as show, sameRange, type Range } from '../address.ts'
import { capital } from '../checks/finding.ts'
import { notPlugged, stranger } from '../checks/guests.ts'
import { bridgedUnmet } from '../checks/kernel.ts'
import { firewallBridge, hasChain, linkOf, tapName } from '../facts/node-facts.ts'
import { configEdit } from '../facts/fixes.ts'
import { checkAnswer, checkGateway, ownNetwork } from './answer.ts'
import { checkFilter, requireUp } from './forward.ts'
import { requireInForce } from './in-sync.ts'
import { wayTo } from './kernel-way.ts'
import { checkBridged, checkCrossing } from './others.ts'
import { endpoint, type Packet } from './packet.ts'
import { guestFirewallOff, judgeGuest } from './pvefirewall.ts'
import type { Trail } from './step.ts'
import { enterBy, ruleName, walk, type Flow } from './walk.ts'
import {
  guestAt,
  guestName,
  internalAt,
  ownInterface,
  type Located,
  type Sender,
  type World,
} from './world.ts'

/** A guest sends: what its firewall says, and whether the packet comes to the node's routing at all. */
export function leaveGuest(
  world: World,
  guest: Located,
  packet: Packet,
  trail: Trail,
): Omit<Sender, 'guest'> {
  const { index, bridge = '' } = guest.nic
  trail.pass(
    `${capital(guestName(guest))} sends it, by net${index} on ${bridge || 'no bridge'}.`,
    `${show(packet.source)}: ${guest.from}`,
  )
  requireWire(world, guest, trail)
  passGuestFirewall(world, guest, 'out', packet, trail)
  const here = internalAt(world, packet.source)
  const dev = here?.bridge || wayTo(world, packet.source, trail) || bridge
  const around = here?.network ?? ownNetwork(guest, packet)
  const isNodes = ownInterface(world, packet.destination) !== undefined
  if (around && contains(around, packet.destination)) return isNodes ? { in: dev } : { in: dev, bridged: dev }
  checkGateway(world, guest, packet, trail, 'sends')
  return { in: dev }
}

interface Delivery {
  /** As the guest is to see it. */
  packet: Packet
  out: string
  trail: Trail
  /** It crosses a bridge and was not routed, let alone translated. */
  bridged: boolean
}

/** To a guest, or to an address that no guest is known to have. `afterGateway`: tells of the answer behind this node. */
export function deliver(
  world: World,
  { packet, out, trail, bridged }: Delivery,
  afterGateway: () => void = () => undefined,
): void {
  const { destination } = packet
  const guest = guestAt(world, destination)
  if (bridged) {
    trail.note(
      `It stays on ${out}: such a packet is neither routed nor translated.`,
      `${show(destination)} is in a network on ${out}`,
    )
    checkCrossing(world, out, packet, trail)
  }
  if (!guest) {
    checkNeighbour(world, destination, out, undefined, trail)
    return trail.unknown(
      `No guest of this node is known to have ${show(destination)}; whether anybody has cannot be read here.`,
      'guest configs, leases, neighbours',
    )
  }
  trail.pass(
    `${show(destination)} is ${guestName(guest)}, net${guest.nic.index}.`,
    `${show(destination)}: ${guest.from}`,
  )
  requireWire(world, guest, trail)
  checkNeighbour(world, destination, out, guest, trail)
  passGuestFirewall(world, guest, 'in', packet, trail)
  if (!bridged) checkAnswer(world, guest, packet, trail)
  afterGateway()
  trail.note(
    `Whether ${endpoint(destination, packet.dport)} is served inside ${guestName(guest)}, and what a firewall inside it does, cannot be read from the node.`,
    'nothing: ask from inside the guest',
  )
}

/** The guest's interface on the node: it is there while the guest runs. */
function requireWire(world: World, located: Located, trail: Trail): void {
  const { guest, nic } = located
  const { type, vmid, isTemplate } = guest
  const name = tapName(guest, nic)
  const { index, isDisconnected } = nic
  if (isTemplate)
    trail.stop(
      `${capital(guestName(located))} is a template, which never runs.`,
      [`config of guest ${vmid}`],
      {
        commands: [],
        instead: 'start a clone of it, which has a copy of its rules',
      },
    )
  if (!linkOf(world.facts, name))
    trail.stop(`${capital(guestName(located))} does not run: there is no ${name}.`, ['ip addr show'], {
      commands: [`${type === 'qemu' ? 'qm' : 'pct'} start ${vmid}`],
    })
  if (isDisconnected)
    trail.stop(
      `net${index} of ${guestName(located)} is disconnected.`,
      [`config of guest ${vmid} (net${index}): link_down=1`],
      {
        commands: [configEdit(guest, nic, world.configs.get(vmid) ?? '', 'link_down', '0')],
      },
    )
  requireUp(world.facts, name, trail)
  requirePlugged(world, located, trail)
}

function requirePlugged(world: World, { guest, nic }: Located, trail: Trail): void {
  const name = tapName(guest, nic)
  const link = linkOf(world.facts, name)
  if (link?.master !== undefined || nic.bridge === undefined) return
  trail.stop(
    `${name} is on no bridge; the config of guest ${guest.vmid} wants it on ${nic.bridge}.`,
    [`ip link show ${name}`],
    {
      commands: [`ip link set ${name} master ${nic.bridge}`],
    },
  )
}

/** Who answers for an address on a wire, when it was last asked for. */
function checkNeighbour(
  world: World,
  address: Range,
  out: string,
  guest: Located | undefined,
  trail: Trail,
): void {
  const entry = world.facts.neighbours.find(({ dev, ip }) => dev === out && sameRange(ip, address))
  const read = `ip neigh show ${show(address)} dev ${out}`
  if (!entry)
    return trail.unknown(
      `${show(address)} has not been asked for lately, so whether it answers on ${out} is not known.`,
      read,
    )
  if (entry.mac === '')
    return trail.unknown(
      `${show(address)} did not answer on ${out} when it was last asked for.`,
      `${read}: ${entry.states.join()}`,
    )
  if (guest) trail.stopFor(stranger(guest, entry))
  trail.pass(`${show(address)} answers on ${out} as ${entry.mac}.`, `${read}: ${entry.states.join()}`)
}

/** pve-firewall at the guest's NIC, and our own accept ahead of it. */
function passGuestFirewall(
  world: World,
  located: Located,
  direction: 'in' | 'out',
  packet: Packet,
  trail: Trail,
): void {
  const { guest, nic } = located
  const name = guestName(located)
  if (!nic.firewall)
    return trail.pass(
      `pve-firewall leaves net${nic.index} of ${name} alone: it has no firewall=1.`,
      `config of guest ${guest.vmid}`,
    )
  const off = guestFirewallOff(world.view, located)
  const bridge = linkOf(world.facts, firewallBridge(guest, nic))?.name
  if (bridge !== undefined && !bridgedUnmet(world.facts, packet.family))
    checkBridged(world, bridge, packet, trail)
  const unmet = notMet(world, located, direction, packet)
  // What proxmox-firewall drops on a bridge no accept of ours brings back.
  const isIptables = world.view.firewall === 'iptables'
  if (isIptables && bridge !== undefined && accepted(world, bridge, direction, packet, trail)) return
  if (off !== undefined)
    return trail.pass(`pve-firewall lets it pass: ${off}.`, `${guest.vmid}.fw, cluster.fw`)
  if (unmet) return trail.note(...unmet)
  const { verdict, by, restsOn, fix } = judgeGuest(world.view, located, direction, packet)
  if (verdict === 'accept') return trail.pass(`The firewall of ${name} lets it ${direction}: ${by}.`, restsOn)
  if (verdict === 'unknown')
    return trail.unknown(
      `Whether the firewall of ${name} lets it ${direction} cannot be told: ${by}.`,
      restsOn,
    )
  const sees = `${endpoint(packet.destination, packet.dport)} from ${show(packet.source)}`
  trail.stop(`The firewall of ${name} does not let it ${direction}: ${by}. It sees ${sees}.`, [restsOn], fix)
}

/** Why the rules of a guest are not met although its config asks for them. */
function notMet(
  world: World,
  located: Located,
  direction: 'in' | 'out',
  { family }: Packet,
): [string, ...string[]] | undefined {
  const { view, facts } = world
  if (view.firewall === 'nftables') {
    const sentence =
      'The rules of the guest are not in the kernel: proxmox-firewall has no table for guests there.'
    const isLoaded = facts.nftables.chains.some(({ table }) => table === 'proxmox-firewall-guests')
    return isLoaded ? undefined : [sentence, 'nft list tables']
  }
  const cause = notPlugged(world, located) ?? bridgedUnmet(facts, family)
  if (cause) return [cause.finding, ...cause.restsOn]
  const chain = `${tapName(located.guest, located.nic)}-${direction.toUpperCase()}`
  if (hasChain(facts, family, chain)) return undefined
  return [
    `pve-firewall has no chain ${chain} in the kernel: the rules of the guest are not in force.`,
    'table filter in the kernel',
  ]
}

/** The filter table on the guest's firewall bridge: whether an accept of ours comes before pve-firewall. */
function accepted(
  world: World,
  bridge: string,
  direction: 'in' | 'out',
  packet: Packet,
  trail: Trail,
): boolean {
  const flow: Flow = { ...enterBy(packet, bridge), out: bridge, bridged: true, fwbr: direction }
  if (direction === 'out')
    requireInForce(world, packet.family, walk(world.ruleset, 'PVENAT-ZONE', flow), trail)
  const accept = checkFilter(world, flow, trail)
  if (accept)
    trail.pass(
      'The rule has a source port, which no client sends; an accept of pvenat lets the forwarded packet in ahead of pve-firewall.',
      ruleName(accept),
    )
  return accept !== undefined
}
