/** From routing to the interface by which a packet leaves: forwarding and the filter table. */
import { contains, formatRange as show, parseCidr, sameRange, type Range } from '../address.ts'
import type { Finding } from '../checks/finding.ts'
import { familyUnforwarded, interfaceUnforwarded } from '../checks/kernel.ts'
import { loopDown, policyElsewhere, policyHere } from '../checks/rules.ts'
import { iptables, otherBackend } from '../facts/backend.ts'
import { linkOf } from '../facts/node-facts.ts'
import { acceptLines, insertions, ruleToMain } from '../facts/fixes.ts'
import { inwardTo } from '../network.ts'
import { LOOP_NETWORKS, LOOP_OUT } from '../ruleset/self-hairpin.ts'
import { APPLY, requireInForce } from './in-sync.ts'
import type { Pass } from './pass.ts'
import { checkLeaving, checkMarks, checkOthers, droppedByPolicy } from './others.ts'
import type { Trail } from './step.ts'
import { kernelWay } from './kernel-way.ts'
import { leave } from './leave.ts'
import { requireMark, requireUplink } from './uplink.ts'
import { markOf, ruleName, walk, type Flow, type Hit } from './walk.ts'
import { internalAt, isExternal, placeOf, ruleById, type World } from './world.ts'

/** Returns the interface by which it leaves, and the packet as it does. */
export function forward(world: World, pass: Pass): { out: string; flow: Flow } {
  const { packet, trail } = pass
  const isNodes = pass.flow.in === undefined
  const mark = isNodes ? 0 : markOf(world.ruleset, pass.flow)
  requireMark(world, pass.flow, mark, trail)
  const out = kernelOut(world, pass, mark)
  const isBack = !isNodes && out === pass.flow.in
  const flow: Flow = { ...pass.flow, out, bridged: isBack, mark }
  if (isBack && flow.dnat && sameRange(flow.destination, packet.source)) lostLoop(world, pass)
  if (!isNodes) {
    checkForwarding(world, flow, trail)
    checkFilter(world, flow, trail)
    explainMss(world, flow, trail)
  }
  const left = leave(world, { ...pass, flow }, out)
  checkLeaving(world, flow, left, trail)
  return { out, flow: left }
}

/** As the kernel says. Routing rules of others may take packets even for the networks of this node. */
function kernelOut(world: World, pass: Pass, mark: number): string {
  const { view, facts } = world
  const { flow, trail } = pass
  const { in: iif, source, destination, family } = flow
  const isLoop = isLoopTarget(destination)
  if (isLoop) trail.stopFor(loopDown(facts))
  if (iif !== undefined) checkMarks(world, flow, trail)
  const { dev, told } = kernelWay(world, { from: source, to: destination, iif, mark, packet: flow }, trail)
  if (dev === undefined) return noWay(world, pass, mark, told)
  const inside = isLoop ? LOOP_OUT : internalAt(world, destination)?.bridge
  if (!inside) trail.pass(`The kernel sends it out by ${dev}.`, told)
  if (!inside || dev === inside) return dev
  const isTaken = isLoop
    ? (view.network.foreign?.[family].rules.length ?? 0) > 0
    : inwardTo(view.network, destination)?.dev === inside
  if (isTaken)
    trail.stop(
      `The kernel sends it out by ${dev}, not by ${inside}: a routing rule of others takes it.`,
      [told, 'ip rule show'],
      {
        commands: [ruleToMain(view.network, internalAt(world, destination)?.network ?? destination)],
        instead: `change that rule so that it leaves ${show(destination)} to the table main`,
      },
    )
  if (isLoop)
    trail.stop(
      `The route by which guests reach themselves is missing: ${show(destination)} goes by ${dev}.`,
      [told],
      APPLY,
    )
  requireUp(facts, inside, trail)
  if (isExternal(world, dev))
    trail.stop(`The route to ${show(destination)} leads by ${dev}, not by ${inside}.`, [told])
  return dev
}

/** The switches and the uplinks that are down say why; else the kernel's word stands. */
function noWay(world: World, { flow, trail }: Pass, mark: number, told: string): never {
  if (flow.in !== undefined) checkForwarding(world, flow, trail)
  requireUplink(world, flow.family, mark, trail)
  return trail.stop(`The kernel has no way for it to ${show(flow.destination)}.`, [told, 'ip rule show'])
}

/** Of a TCP connection that crosses an uplink which takes smaller packets than the guests' network. */
function explainMss({ ruleset }: World, flow: Flow, trail: Trail): void {
  const { hit } = walk(ruleset, 'PVENAT-MSS', flow)
  if (hit?.rule.target.kind === 'mss')
    trail.pass(
      `Its segments are made to fit the uplink: at most ${hit.rule.target.mss} bytes.`,
      ruleName(hit),
    )
}

export function requireUp(facts: World['facts'], dev: string, trail: Trail): void {
  if (linkOf(facts, dev)?.up !== false) return
  trail.stop(`The interface ${dev} is down.`, ['ip addr show'], { commands: [`ip link set ${dev} up`] })
}

function isLoopTarget(address: Range): boolean {
  const targets = parseCidr(LOOP_NETWORKS[address.family].targets)
  return targets !== undefined && contains(targets, address)
}

/** No bridge sends a frame out by the port that it came in by. */
function lostLoop({ view }: World, { trail }: Pass): never {
  return trail.stop(
    'The guest calls itself, and no bridge sends a frame out by the port that it came in by.',
    [`setting hairpin = ${view.settings.hairpin}`, 'nat PVENAT-PREROUTING'],
    {
      commands: [],
      instead: 'set hairpin = yes in /etc/pvenat/pvenat.conf, or let the guest use its inner address',
    },
  )
}

/** The switch for the whole node, and those of the interfaces by which the packet and its answer come. */
function checkForwarding({ facts }: World, { family, in: from, out }: Flow, trail: Trail): void {
  trail.stopFor(familyUnforwarded(facts, family))
  if (family === 4) for (const dev of [from, out]) trail.stopFor(interfaceUnforwarded(facts, dev ?? ''))
}

/** FORWARD of the filter table, where the packet is routed or crosses a guest's firewall bridge. Returns our own accept if it decided. */
export function checkFilter(world: World, flow: Flow, trail: Trail): Hit | undefined {
  const { family } = flow
  const walked = walk(world.ruleset, 'PVENAT-FORWARD', flow)
  const { hit } = walked
  const kind = hit?.rule.target.kind
  if (hit && (kind === 'drop' || kind === 'reject')) blocked(world, hit, trail)
  requireInForce(world, family, walked, trail)
  const accept = kind === 'accept' ? hit : undefined
  if (!accept) checkPolicy(world, flow, trail)
  checkOther(world, flow, trail)
  if (flow.fwbr === undefined) checkOthers(world, flow, accept !== undefined, trail)
  return accept
}

/** The tables of the other backend, where pvenat has no rules. */
function checkOther({ view, facts }: World, flow: Flow, trail: Trail): void {
  const { family, dnat, bridged, out } = flow
  const isOurs = dnat || bridged || view.network.external.some(({ name }) => name === out)
  const lines = isOurs ? acceptLines(view.network, family) : linesFor(flow)
  stopByPolicy(
    policyElsewhere(facts, family, lines),
    droppedByPolicy(facts, otherBackend(facts.backend), flow),
    trail,
  )
}

/** Rules of others may let a packet pass in spite of the policy. */
function stopByPolicy(
  policy: Finding | undefined,
  dropped: ReturnType<typeof droppedByPolicy>,
  trail: Trail,
): void {
  if (!policy || !dropped) return
  if (dropped === 'drop') trail.stopFor(policy)
  trail.doubt(`${policy.finding} Whether a rule lets it pass cannot be read.`, ...policy.restsOn)
}

/** Rules of FORWARD for one packet and its answers alone. */
function linesFor({ source, destination }: Flow): string[] {
  const length = source.family === 4 ? 32 : 128
  return [
    `-A FORWARD -s ${show(source)}/${length} -d ${show(destination)}/${length} -j ACCEPT`,
    '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  ]
}

function blocked(world: World, hit: Hit, trail: Trail): never {
  const rule = ruleById(world, hit.rule.serves)
  if (!rule) return trail.stop('Nothing may go round twice.', [ruleName(hit)])
  return trail.stop(
    `The rule of ${placeOf(rule)} isolates this network and stops it.`,
    [placeOf(rule), ruleName(hit)],
    { commands: [], instead: `clear On at ${placeOf(rule)} if the network need not be isolated any more` },
  )
}

function checkPolicy(world: World, flow: Flow, trail: Trail): void {
  const { family } = flow
  const { backend } = world.facts
  const policy = policyHere(world.facts, family)
  if (!policy) return
  const walked = walk(world.ruleset, 'PVENAT-PASS', flow)
  if (walked.hit?.rule.target.kind === 'accept') {
    trail.pass(`${policy.finding} pvenat lets this packet pass all the same.`, ruleName(walked.hit))
    return requireInForce(world, family, walked, trail)
  }
  const fix = insertions(iptables(backend, family), linesFor(flow))
  stopByPolicy({ ...policy, fix }, droppedByPolicy(world.facts, backend, flow), trail)
}
