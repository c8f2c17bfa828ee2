/** The nat table behind routing: whom the other side sees, and why nothing is translated. */
import { formatRange as show, isPrivate, mappedInto, type Family, type Range } from '../address.ts'
import { foreignNat, foreignPlace, mayConcern } from '../facts/foreign.ts'
import { sharedNetwork } from '../nat/guest-addresses.ts'
import { holds } from '../nat/sources.ts'
import { inwardTo } from '../network.ts'
import { requireAnswered } from './answer.ts'
import { requireInForce } from './in-sync.ts'
import type { Pass } from './pass.ts'
import { requireTracked, sourceTakenByOthers } from './others.ts'
import { noEgress } from './refusal.ts'
import type { Trail } from './step.ts'
import { ruleName, walk, type Flow } from './walk.ts'
import { guestAt, internalAt, isExternal, placeOf, ruleById, type World } from './world.ts'

/** The packet as it leaves. */
export function leave(world: World, pass: Pass, out: string): Flow {
  const { flow } = pass
  const trail: Trail = pass.trail
  const walked = walk(world.ruleset, 'PVENAT-POSTROUTING', flow)
  const { hit, returned } = walked
  const at = hit ?? returned
  const rule = ruleById(world, at?.rule.serves)
  const restsOn = [...(rule ? [placeOf(rule)] : []), ...(at ? [ruleName(at)] : [])]
  const target = hit?.rule.target
  if (target?.kind !== 'masquerade' && target?.kind !== 'snat' && target?.kind !== 'netmap') {
    requireInForce(world, flow.family, walked, trail)
    if (flow.in === undefined) return flow
    if (isExternal(world, out))
      untranslated(world, pass, out, target?.kind === 'exempt' ? restsOn : undefined)
    else if (target?.kind !== 'exempt') leadsElsewhere(world, pass, out)
    return flow
  }
  requireTracked(flow, trail)
  const others = sourceTakenByOthers(world, flow)
  if (others !== undefined)
    trail.doubt("A rule that is not pvenat's translates its source, too, and may come first.", others)
  const own = 'to' in target ? [mappedInto(target.to, flow.source)] : addressesOn(world, out, flow.family)
  // Of several the kernel takes the IPv4 address that came first, and the IPv6 address that came last.
  const source = flow.family === 4 ? own[0] : own.at(-1)
  if (!source) trail.stop(`${out} has no address to masquerade behind.`, [...restsOn, 'ip addr show'])
  const why = rule
    ? `by ${placeOf(rule)}`
    : hit?.rule.state === 'DNAT'
      ? 'so that the answer comes back here'
      : 'on its way round'
  trail.pass(`It leaves by ${out} and is seen as ${own.map(show).join(' or ')}, ${why}.`, ...restsOn)
  requireInForce(world, flow.family, walked, trail)
  if (target.kind === 'netmap') requireAnswered(world, source, target.to, trail)
  return { ...flow, source }
}

/** An OUT rule means the packet, but it leaves by an interface that is none of the external ones. */
function leadsElsewhere(world: World, { flow, trail }: Pass, out: string): void {
  const { family, source, destination } = flow
  const { network } = world.view
  if (internalAt(world, destination) ?? guestAt(world, destination)) return
  const isOnward = inwardTo(network, destination) !== undefined
  if (isOnward && network.internal.some(({ bridge }) => bridge === out)) return
  const rule = world.translation.rules.find(({ kind, egresses }) =>
    egresses.some(
      (one) =>
        kind === 'egress' &&
        one.family === family &&
        holds(one.source, source) &&
        holds(one.destination, destination),
    ),
  )
  if (!rule && !isOnward && isPrivate(source) && !isPrivate(destination))
    trail.stop(
      `It leaves by ${out} as ${show(source)}: ${out} is no external interface, so nothing translates it there.`,
      [`routes: ${show(destination)} by ${out}`],
      { commands: [], instead: `write into /etc/pvenat/pvenat.conf: external = +${out}` },
    )
  if (!rule) return
  trail.stop(
    `It leaves by ${out} as ${show(source)}; ${placeOf(rule)} translates by external interfaces only, and ${out} is none.`,
    [placeOf(rule), `routes: ${show(destination)} by ${out}`],
    { commands: [], instead: `write into /etc/pvenat/pvenat.conf: external = +${out}` },
  )
}

/** The addresses of an interface of the node. */
function addressesOn({ view, facts }: World, dev: string, family: Family): Range[] {
  const chosen = [
    ...view.network.external.filter(({ name }) => name === dev).flatMap(({ addresses }) => addresses),
    ...view.network.internal.flatMap(({ bridge, address }) => (bridge === dev && address ? [address] : [])),
  ].filter((address) => address.family === family)
  return chosen.length > 0
    ? chosen
    : facts.addresses.filter((one) => one.dev === dev && one.ip.family === family).map(({ ip }) => ip)
}

/** Out by an external interface with the guest's own address. */
function untranslated(world: World, pass: Pass, out: string, exempt: string[] | undefined): void {
  const { trail, flow } = pass
  const { family, source, destination } = flow
  const foreign = foreignNat(world.facts).find(
    (one) =>
      one.kind === 'source' &&
      // Ours comes first in its own backend, and an exemption is final.
      !(exempt && one.backend === world.facts.backend && !one.isNative) &&
      one.family === family &&
      mayConcern(one, { source: [source], destination: [destination], out }),
  )
  if (foreign)
    return trail.doubt('A rule that is not pvenat’s may translate its source.', foreignPlace(foreign))
  // An internal network may be on the bridge of the uplink.
  const isInside = internalAt(world, destination) ?? guestAt(world, destination)
  if (flow.dnat && !exempt && !isInside)
    trail.stop(
      `It leaves by ${out} again, because ${show(destination)} is not inside: its answer does not come back here.`,
      [`routes: ${show(destination)} by ${out}`],
      {
        commands: [],
        instead: 'correct the destination, give this node an address there, or add snat=1 to the comment',
      },
    )
  const said = `It leaves by ${out} with its own address ${show(source)}`
  if (exempt) return trail.pass(`${said}: that is what the exemption asks for.`, ...exempt)
  // In a network of its own on the uplink, which the router outside does not know.
  const isHidden = internalAt(world, source) ?? sharedNetwork([source], world.view)
  if (!isPrivate(source) || isHidden === undefined) return trail.pass(`${said}.`, 'nat PVENAT-POSTROUTING')
  noEgress(world, pass, out)
}
