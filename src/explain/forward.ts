/** From routing to the interface by which a packet leaves: forwarding, the filter table, and who it is seen as. */
import { contains, isPrivate, parseCidr, type Range } from '../address.ts'
import { FORWARDING, forwardPolicy, routeTo, type BackendName } from '../facts.ts'
import { sysctlCommand } from '../fixes.ts'
import { foreignNat, mayConcern } from '../foreign.ts'
import { LOOP_IN, LOOP_NETWORKS, LOOP_OUT } from '../ruleset/loop.ts'
import type { Sender } from './explain.ts'
import { APPLY, requireInForce } from './inforce.ts'
import type { Packet } from './packet.ts'
import { noEgress } from './refusal.ts'
import type { Trail } from './step.ts'
import { walk, type Flow } from './walk.ts'
import { addressesOn, apiOf, host, internalAt, placeOf, ruleById, show, type World } from './world.ts'

export interface Pass {
  packet: Packet
  sender: Sender
  flow: Flow
  trail: Trail
}

/** Returns the interface by which it leaves, and the packet as it does. */
export function forward(world: World, pass: Pass): { out: string; flow: Flow } {
  const { trail } = pass
  const destination = host(pass.flow.family, pass.flow.destination)
  const out = routeOut(world, destination, trail)
  const isNodes = pass.flow.in === undefined
  const isBack = !isNodes && out === pass.flow.in
  const flow: Flow = { ...pass.flow, out, bridged: isBack }
  if (isBack && pass.flow.dnat && flow.destination === pass.packet.source.lo) lostLoop(world, pass)
  if (!isNodes) {
    checkForwarding(world, flow, trail)
    checkFilter(world, flow, trail)
  }
  return { out, flow: leave(world, { ...pass, flow }, out) }
}

function routeOut(world: World, destination: Range, trail: Trail): string {
  const route = routeTo(world.facts, destination)
  if (route?.dev === undefined || route.type !== 'unicast')
    trail.stop(`This node has no route to ${show(destination)}.`, [
      `ip route show: ${route?.type ?? 'nothing fits'}`,
    ])
  const { dev } = route
  if (!isLoopTarget(destination)) return dev
  const missing = [LOOP_OUT, LOOP_IN].find(
    (name) => !world.facts.links.some((link) => link.name === name && link.up),
  )
  if (missing !== undefined)
    trail.stop(
      `The interface ${missing}, by which guests reach themselves, is missing or down.`,
      ['ip addr show'],
      APPLY,
    )
  if (dev !== LOOP_OUT)
    trail.stop(
      `The route by which guests reach themselves is missing: ${show(destination)} goes by ${dev}.`,
      ['ip route show'],
      APPLY,
    )
  return dev
}

function isLoopTarget(address: Range): boolean {
  const targets = parseCidr(LOOP_NETWORKS[address.family].targets)
  return targets !== undefined && contains(targets, address)
}

/** No bridge sends a frame out by the port that it came in by. */
function lostLoop(world: World, { trail }: Pass): never {
  const { hairpin } = world.view.settings
  return trail.stop(
    'The guest calls itself, and no bridge sends a frame out by the port that it came in by.',
    [`setting hairpin = ${hairpin}`, 'nat PVENAT-PREROUTING'],
    {
      commands: [],
      instead: 'set hairpin = yes in /etc/pvenat/pvenat.conf, or let the guest use its inner address',
    },
  )
}

function checkForwarding(world: World, { family }: Flow, trail: Trail): void {
  const path = FORWARDING[family]
  const value = world.facts.sysctls.get(path) ?? 'missing'
  if (value !== '0') return
  trail.stop(
    `This node does not forward IPv${family} packets at all.`,
    [`${path.replaceAll('/', '.')} = ${value}`],
    {
      commands: [sysctlCommand(path, 1)],
    },
  )
}

/** FORWARD of the filter table, where the packet is routed or crosses a guest's firewall bridge. Returns whether our own accept decided. */
export function checkFilter(world: World, flow: Flow, trail: Trail): boolean {
  const { family } = flow
  const walked = walk(world.ruleset, 'filter', 'PVENAT-FORWARD', flow)
  const { hit } = walked
  const kind = hit?.rule.target.kind
  if (kind === 'drop' || kind === 'reject') {
    const rule = ruleById(world, hit?.rule.serves)
    const restsOn = [
      ...(rule ? [placeOf(rule)] : []),
      `filter ${hit?.chain.name} rule ${(hit?.index ?? 0) + 1}`,
    ]
    const api = rule && apiOf(world, rule)
    trail.stop(
      rule
        ? `The rule of ${placeOf(rule)} isolates this network and stops it.`
        : 'Nothing may go round twice.',
      restsOn,
      api === undefined
        ? undefined
        : {
            commands: [`pvesh set ${api} --enable 0`],
            instead: `clear On at ${rule ? placeOf(rule) : 'the rule'}`,
          },
    )
  }
  requireInForce(world, family, 'filter', 'PVENAT-FORWARD', walked, trail)
  const isOurs = kind === 'accept'
  if (!isOurs) checkPolicy(world, flow, trail)
  const other = world.facts.backend === 'legacy' ? 'nft' : 'legacy'
  if (forwardPolicy(world.facts, other, family) === 'DROP')
    trail.stop(
      `The policy of FORWARD is DROP in the tables of the other backend, iptables-${other}, where pvenat has no say.`,
      [`${saveName(other, family)}: :FORWARD DROP`],
      { commands: [`${iptables(other, family)} -P FORWARD ACCEPT`] },
    )
  if (flow.fwbr === undefined) noteForeign(world, flow, trail)
  return isOurs
}

function checkPolicy(world: World, flow: Flow, trail: Trail): void {
  const { family } = flow
  const { backend } = world.facts
  if (forwardPolicy(world.facts, backend, family) !== 'DROP') return
  const walked = walk(world.ruleset, 'filter', 'PVENAT-PASS', flow)
  if (walked.hit?.rule.target.kind !== 'accept')
    trail.stop(
      'The policy of FORWARD is DROP, which somebody else set (Docker does), and nothing of pvenat is for this packet.',
      [`${saveName(backend, family)}: :FORWARD DROP`],
      { commands: [`${iptables(backend, family)} -P FORWARD ACCEPT`] },
    )
  trail.pass(
    'The policy of FORWARD is DROP, which somebody else set (Docker does); pvenat lets this packet pass all the same.',
    `filter ${walked.hit.chain.name} rule ${walked.hit.index + 1}`,
  )
  requireInForce(world, family, 'filter', 'PVENAT-PASS', walked, trail)
}

/** Rules that neither pve-firewall nor pvenat made are not followed: better said than passed over. */
function noteForeign(world: World, { family }: Flow, trail: Trail): void {
  for (const backend of ['legacy', 'nft'] as const) {
    const lines = world.facts.tables[backend][family]
      .split('\n')
      .filter((line) => line.startsWith('-A FORWARD ') && !/ -j (PVEFW|PVENAT)-\S+$/.test(line))
    const [first, ...more] = lines
    if (first === undefined) continue
    const others = more.length > 0 ? ` and ${more.length} more` : ''
    trail.unknown(
      `FORWARD also holds rules that are neither pve-firewall's nor pvenat's; explain does not follow them.`,
      `${saveName(backend, family)}: ${first}${others}`,
    )
  }
}

/** The nat table behind routing: whom the other side sees. */
function leave(world: World, pass: Pass, out: string): Flow {
  const { flow } = pass
  const trail: Trail = pass.trail
  const walked = walk(world.ruleset, 'nat', 'PVENAT-POSTROUTING', flow)
  const { hit, returned } = walked
  const rule = ruleById(world, (hit ?? returned)?.rule.serves)
  const at = hit ?? returned
  const kernel = at ? [`nat ${at.chain.name} rule ${at.index + 1}`] : []
  if (hit && (hit.rule.target.kind === 'masquerade' || hit.rule.target.kind === 'snat')) {
    const own = hit.rule.target.kind === 'snat' ? [hit.rule.target.to] : addressesOn(world, out, flow.family)
    // Of several the kernel takes the IPv4 address that came first, and the IPv6 address that came last.
    const source = flow.family === 4 ? own[0] : own.at(-1)
    if (!source) trail.stop(`${out} has no address to masquerade behind.`, [...kernel, 'ip addr show'])
    const why = rule
      ? `by ${placeOf(rule)}`
      : hit.rule.state === 'DNAT'
        ? 'so that the answer comes back here'
        : 'on its way round'
    trail.pass(
      `It leaves by ${out} and is seen as ${own.map(show).join(' or ')}, ${why}.`,
      ...(rule ? [placeOf(rule)] : []),
      ...kernel,
    )
    requireInForce(world, flow.family, 'nat', 'PVENAT-POSTROUTING', walked, trail)
    return { ...flow, source: source.lo }
  }
  requireInForce(world, flow.family, 'nat', 'PVENAT-POSTROUTING', walked, trail)
  const isOutside = world.view.network.external.some(({ name }) => name === out)
  if (isOutside && flow.in !== undefined)
    untranslated(world, pass, out, rule ? [placeOf(rule), ...kernel] : undefined)
  return flow
}

/** Out by an external interface with the guest's own address. */
function untranslated(
  world: World,
  { flow, trail, sender }: Pass,
  out: string,
  exempt: string[] | undefined,
): void {
  const source = host(flow.family, flow.source)
  const destination = host(flow.family, flow.destination)
  const foreign = foreignNat(world.facts).find(
    (one) =>
      one.kind === 'source' && one.family === flow.family && mayConcern(one, { source, destination, out }),
  )
  if (foreign)
    return trail.unknown(
      'A rule that is not pvenat’s may translate its source.',
      `${saveName(foreign.backend, foreign.family)}: ${foreign.line}`,
    )
  if (exempt)
    return trail.pass(
      `It leaves by ${out} with its own address ${show(source)}: that is what the exemption asks for.`,
      ...exempt,
    )
  if (!isPrivate(source) || internalAt(world, source) === undefined)
    return trail.pass(`It leaves by ${out} with its own address ${show(source)}.`, 'nat PVENAT-POSTROUTING')
  noEgress(world, { flow, trail, sender }, out)
}

export function iptables(backend: BackendName, family: 4 | 6): string {
  return `${family === 4 ? 'iptables' : 'ip6tables'}-${backend}`
}

function saveName(backend: BackendName, family: 4 | 6): string {
  return `${iptables(backend, family)}-save`
}
