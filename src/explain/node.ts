/** What ends at the node itself: nobody forwards it, so why not, and is it a service of the node? */
import { sameRange } from '../address.ts'
import type { Sender } from './explain.ts'
import { endpoint, type Packet } from './packet.ts'
import { judgeNode } from './pvefirewall.ts'
import { whyNoForward } from './refusal.ts'
import type { Trail } from './step.ts'
import type { Flow } from './walk.ts'
import { hasChain } from '../facts.ts'
import { quoted } from '../fixes.ts'
import { host, show, type World } from './world.ts'

export interface AtNode {
  packet: Packet
  sender: Sender
  flow: Flow
  trail: Trail
}

export function toNode(world: World, { packet, sender, flow, trail }: AtNode): void {
  const { family, proto } = packet
  const here = host(family, flow.destination)
  const at = endpoint(family, flow.destination, flow.dport)
  const socket = world.view.listeners.find(
    (one) =>
      one.proto === proto &&
      one.port === flow.dport &&
      (one.address ? sameRange(one.address, here) : family === 4 || !one.isV4),
  )
  const served = socket
    ? `${socket.holder || 'a service of this node'} listens on ${proto} port ${flow.dport}`
    : undefined
  whyNoForward(world, { packet, sender, flow, trail }, served !== undefined || flow.dport === undefined)
  if (flow.dport === undefined)
    trail.pass(`It ends at this node itself: ${show(here)} is its own.`, 'ip addr show')
  else if (served !== undefined) trail.pass(`It ends at this node itself: ${served}.`, '/proc/net')
  else if (proto === 'udp' || proto === 'tcp')
    trail.stop(`It ends at this node itself, and nothing listens at ${at}.`, ['/proc/net'])
  if (sender.in === undefined) return
  hostFirewall(world, { packet, sender, flow, trail })
}

function hostFirewall(world: World, { packet, sender, trail }: AtNode): void {
  const judged = judgeNode(world.view, sender.in ?? '', packet)
  const isThere = world.view.firewall === 'nftables' || hasChain(world.facts, packet.family, 'PVEFW-HOST-IN')
  if (!judged || !isThere)
    return trail.note(
      'The firewall of the node is not in force.',
      judged ? 'filter PVEFW-HOST-IN is not in the kernel' : 'cluster.fw, host.fw',
    )
  const { verdict, by, restsOn, fix } = judged
  if (verdict === 'accept') return trail.pass(`The firewall of the node lets it in: ${by}.`, restsOn)
  if (verdict === 'unknown')
    return trail.unknown(`Whether the firewall of the node lets it in cannot be told: ${by}.`, restsOn)
  const { proto, dport, source } = packet
  const ports = dport === undefined ? '' : ` --dport ${dport}`
  const command = `pvesh create /nodes/${quoted(world.view.node)}/firewall/rules --type in --action ACCEPT --proto ${proto}${ports} --source ${show(source)} --enable 1`
  trail.stop(`The firewall of the node does not let it in: ${by}.`, [restsOn], fix ?? { commands: [command] })
}
