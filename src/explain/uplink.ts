/** Several uplinks: by which of them a packet leaves, and by which its answer does, as the rules that set marks say. */
import { prefixLength, sameRange, type Family, type Range } from '../address.ts'
import { markSetters } from '../facts/mark-setters.ts'
import { routeTo } from '../facts/node-facts.ts'
import { hex, markedUplinks, type MarkedUplink } from '../ruleset/uplinks.ts'
import { marksDiffer } from './in-sync.ts'
import { kernelWay } from './kernel-way.ts'
import type { Pass } from './pass.ts'
import type { Trail } from './step.ts'
import { markOf, type Flow } from './walk.ts'
import { isExternal, type World } from './world.ts'

/** The uplink to which its mark leads a packet; undefined where the routes of the table main decide. */
export function uplinkOut(world: World, { flow, trail }: Pass): string | undefined {
  const mark = markOf(world.ruleset, flow)
  const route = routeTo(world.facts, flow.destination)
  if (mark === 0 || (route && !isDefault(route.to))) return undefined
  const uplink = uplinkWith(world, flow.family, mark)
  if (!uplink) return undefined
  const { name, way } = uplink
  if (way.down)
    trail.stop(`It leaves by the uplink ${name} or not at all, and ${name} is down.`, [inWords(uplink)])
  trail.pass(`Its rule sends it to the uplink ${name}.`, inWords(uplink))
  return name
}

/** The uplink by which the answer to a client outside leaves; it comes from `inner`, the interface to the guest. */
export function explainAnswer(world: World, flow: Flow, inner: string, trail: Trail): void {
  if (flow.in === undefined || !isExternal(world, flow.in) || !flow.dnat) return
  const mark = answerMark(world, flow.family, flow.original.destination)
  requireMark(world, flow, mark, trail)
  const asked = kernelWay(world, { from: flow.destination, to: flow.source, iif: inner, mark })
  if (asked?.dev === flow.in)
    return trail.pass(`The answer leaves by ${asked.dev}, by which the client came.`, asked.told)
  if (asked?.dev !== undefined && isExternal(world, asked.dev))
    return trail.doubt(
      `The answer leaves by ${asked.dev}, not by ${flow.in} that the client called; see pvenat doctor.`,
      asked.told,
    )
  const uplink = uplinkWith(world, flow.family, mark)
  if (uplink) {
    const { name, way } = uplink
    if (way.down) trail.stop(`The answer waits: the uplink ${name} is down.`, [inWords(uplink)])
    if (!asked) return trail.pass(`The answer leaves by ${name}, by which the client came.`, inWords(uplink))
  }
  if (asked && asked.dev === undefined)
    trail.stop(`The kernel has no way back for the answer.`, [asked.told, 'ip rule show'])
  const back = routeTo(world.facts, flow.source)?.dev
  if (back !== undefined && back !== flow.in && isExternal(world, back))
    trail.doubt(
      `The answer leaves by ${back}, not by ${flow.in} that the client called; see pvenat doctor.`,
      `routes: answers by ${back}`,
    )
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
    trail.doubt(
      `A rule that is not pvenat's ${setter.isBehind ? 'takes' : 'may take'} its mark ${hex(mark)} away; see pvenat doctor.`,
      setter.place,
    )
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

/** A default route or a half of it: packets with a mark pass it by. */
function isDefault(to: Range): boolean {
  return (prefixLength(to) ?? 0) <= (to.family === 4 ? 1 : 4)
}
