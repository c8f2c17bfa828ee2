/** What ends at the node itself: nobody forwards it, so why not, and is it a service of the node? */
import { formatRange as show } from '../address.ts'
import { hasChain } from '../facts/node-facts.ts'
import { serves } from '../nat/sockets.ts'
import { checkInput, takenByOthers } from './others.ts'
import type { Pass } from './pass.ts'
import { endpoint } from './packet.ts'
import { judgeNode } from './pvefirewall.ts'
import { whyNoForward } from './refusal.ts'
import type { Trail } from './step.ts'
import type { Flow } from './walk.ts'
import type { World } from './world.ts'

export function toNode(world: World, pass: Pass): void {
  const { flow, trail } = pass
  const { proto, destination, dport } = flow
  const socket = world.view.listeners.find(
    (one) => one.proto === proto && one.port === dport && serves(one, destination),
  )
  const served = socket && `${socket.holder || 'a service of this node'} listens on ${proto} port ${dport}`
  const others = flow.dnat ? undefined : takenByOthers(world, flow, false)
  if (!flow.dnat)
    whyNoForward(world, pass, served !== undefined || others !== undefined || dport === undefined)
  if (others !== undefined)
    return trail.doubt("A rule that is not pvenat's forwards it; explain does not follow it there.", others)
  const ends = 'It ends at this node itself'
  if (dport === undefined) trail.pass(`${ends}: ${show(destination)} is its own.`, 'ip addr show')
  else if (served !== undefined) trail.pass(`${ends}: ${served}.`, '/proc/net')
  else if (proto === 'udp' || proto === 'tcp')
    trail.stop(`${ends}, and nothing listens at ${endpoint(destination, dport)}.`, ['/proc/net'])
  if (flow.in === undefined) return
  checkInput(world, flow, trail)
  hostFirewall(world, flow, flow.in, trail)
}

function hostFirewall({ view, facts }: World, flow: Flow, dev: string, trail: Trail): void {
  const judged = judgeNode(view, dev, flow)
  const isThere = view.firewall === 'nftables' || hasChain(facts, flow.family, 'PVEFW-HOST-IN')
  if (!judged || !isThere)
    return trail.note(
      'The firewall of the node is not in force.',
      judged ? 'filter PVEFW-HOST-IN is not in the kernel' : 'cluster.fw, host.fw',
    )
  const { verdict, by, restsOn, fix } = judged
  if (verdict === 'accept') return trail.pass(`The firewall of the node lets it in: ${by}.`, restsOn)
  if (verdict === 'unknown')
    return trail.unknown(`Whether the firewall of the node lets it in cannot be told: ${by}.`, restsOn)
  trail.stop(`The firewall of the node does not let it in: ${by}.`, [restsOn], fix)
}
