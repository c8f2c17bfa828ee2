/** Several uplinks: by which of them a packet leaves, and by which its answer does, as the rules that set marks say. */
import { sameRange, type Family, type Range } from '../address.ts'
import { marksTaken } from '../checks/kernel.ts'
import { markSetters } from '../facts/mark-setters.ts'
import { hex, markedUplinks, type MarkedUplink } from '../ruleset/uplinks.ts'
import { marksDiffer } from './in-sync.ts'
import { kernelWay } from './kernel-way.ts'
import { answerTo, checkMarks } from './others.ts'
import type { Trail } from './step.ts'
import type { Flow } from './walk.ts'
import { isExternal, segmentOf, type World } from './world.ts'

/** By an uplink that is down a packet with its mark leaves not at all. */
export function requireUplink(world: World, family: Family, mark: number, trail: Trail): void {
  const uplink = uplinkWith(world, family, mark)
  if (!uplink?.way.down) return
  const { name } = uplink
  trail.stop(`It leaves by the uplink ${name} or not at all, and ${name} is down.`, [inWords(uplink)])
}

/** The uplink by which the answer to a client outside leaves; it comes from `inner`, the interface to the guest. */
export function explainAnswer(world: World, flow: Flow, inner: string, trail: Trail): void {
  if (flow.in === undefined || !isExternal(world, flow.in) || !flow.dnat) return
  const mark = answerMark(world, flow.family, flow.original.destination)
  requireMark(world, flow, mark, trail)
  const answer = answerTo({ ...flow, out: inner })
  checkMarks(world, answer, trail)
  const hop = { from: flow.destination, to: flow.source, iif: inner, mark, packet: answer }
  const { dev, told } = kernelWay(world, hop, trail)
  if (dev === flow.in) return trail.pass(`The answer leaves by ${dev}, by which the client came.`, told)
  if (dev !== undefined && dev === segmentOf(world, flow.source))
    return trail.pass(`The answer leaves by ${dev}, in whose network the client is.`, told)
  const uplink = uplinkWith(world, flow.family, mark)
  if (uplink?.way.down) trail.stop(`The answer waits: the uplink ${uplink.name} is down.`, [inWords(uplink)])
  if (dev === undefined) trail.stop(`The kernel has no way back for the answer.`, [told, 'ip rule show'])
  const where = isExternal(world, dev) ? `${flow.in} that the client called; see pvenat doctor` : flow.in
  trail.doubt(`The answer leaves by ${dev}, not by ${where}.`, told)
}

/** A packet without the mark that it should have goes where unmarked packets go. */
export function requireMark(
  world: World,
  { family, proto }: Pick<Flow, 'family' | 'proto'>,
  mark: number,
  trail: Trail,
): void {
  const problem = mark === 0 ? undefined : marksDiffer(world, family)
  if (problem !== undefined)
    trail.doubt(
      `The mark ${hex(mark)} is wanted, but it is not in force: ${problem}. To have it in force: pvenat apply.`,
      'table mangle in the kernel',
    )
  const setters = mark === 0 ? [] : markSetters(world.facts, family, world.view)
  for (const setter of setters.filter((one) => one.proto === undefined || one.proto === proto))
    trail.doubt(`${marksTaken(world.view, setter).finding} See pvenat doctor.`, setter.place)
}

function answerMark({ ruleset }: World, family: Family, called: Range): number {
  const rule = ruleset.chains[family]
    .flatMap(({ table, rules }) => (table === 'mangle' ? rules : []))
    .find((one) => one.originalDestination && sameRange(one.originalDestination, called))
  return rule?.target.kind === 'mark' ? rule.target.mark : 0
}

function uplinkWith({ view }: World, family: Family, mark: number): MarkedUplink | undefined {
  return markedUplinks(view, family, true).find((one) => one.mark === mark)
}

function inWords({ mark, table }: MarkedUplink): string {
  return `mark ${hex(mark)}, table ${table}`
}
