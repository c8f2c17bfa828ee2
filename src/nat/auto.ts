/**
 * `NAT auto`: external ports from the guest's block. They depend on the guest's own rules alone, so no state is needed. Rules get their ports
 * from the last line to the first, because the GUI puts new rules on top. A rule gets the first free ports from `block + inner port mod size`
 * on, side by side and in the order of its inner ports.
 */
import { FAMILIES } from '../address.ts'
import { diagnose, isError, placeName, type Diagnostic } from '../diagnostic.ts'
import { formatPorts, meet, meets, mergePorts, takeOut, type PortRange } from '../ports.ts'
import { ownBlock } from './port-blocks.ts'
import type { NatComment } from './comment.ts'
import { isForwardable, pairedPorts } from './forward.ts'
import type { Marked } from './marked.ts'
import type { NatRule } from './nat-rule.ts'
import { innerRanges } from './pairing.ts'
import { blockMissing } from './policy.ts'
import { templates, WITH_PORTS, type Template } from './template.ts'
import { renderComment } from './free-text.ts'
import type { View } from './view.ts'

/** The external ports by the inner ports (`80,80`), or the reason why the rule gets none. */
export type Given = ReadonlyMap<string, PortRange> | Diagnostic

/** A marked rule and its comment. */
export interface Read {
  marked: Marked
  comment: NatComment
}

/** The given ports of each rule of one file, in the order of the rules; undefined for a rule that needs none and conflicts with none. */
export function giveAll(rules: readonly Read[], view: View): (Given | undefined)[] {
  const needs = ({ comment: { endpoint } }: Read): boolean =>
    endpoint?.kind === 'auto' || endpoint?.kind === 'ask'
  if (!rules.some(needs)) return []
  const pools: Pools = { free: new Map(), given: [] }
  return rules.map((_, i) => give(rules[rules.length - 1 - i] as Read, pools, view)).reverse()
}

/** The ports of a block while rules get theirs. */
interface Pools {
  /** By protocol, sorted. */
  free: Map<string, PortRange[]>
  /** What NAT auto gave, and to which rule. */
  given: { proto: string; ports: PortRange; rule: Marked }[]
}

function give(read: Read, pools: Pools, view: View): Given | undefined {
  const { marked, comment } = read
  const { rule, scope, place } = marked
  if (rule.type !== 'in' || rule.action !== 'ACCEPT' || rule.errors || comment.full) return undefined
  if (comment.endpoint?.kind === 'none' || comment.problems.some(isError)) return undefined
  const isAuto = comment.endpoint?.kind === 'auto'
  const where = comment.places.endpoint ?? place
  if (scope.kind !== 'guest') return isAuto ? diagnose('block-none', where, { isGuests: false }) : undefined
  const { guestBlock } = view.settings
  const block = ownBlock(scope.guest.vmid, view.blocks)
  if (!block || guestBlock === 'none')
    return isAuto
      ? (blockMissing(where, scope.guest, view) ?? diagnose('block-none', where, { isGuests: true }))
      : undefined
  const usable = FAMILIES.flatMap((family) => templates(rule, family, view.services)).filter(isForwardable)
  if (comment.endpoint?.kind !== 'auto' && comment.endpoint?.kind !== 'ask')
    return takeNumbers(read, usable, pools, block, view)
  const ranges = innerRanges(usable)
  const [first] = ranges
  // Another diagnostic explains such a rule better.
  if (!first || rule.sport !== undefined) return new Map()
  const protos = [...new Set(usable.flatMap(({ proto }) => (WITH_PORTS.has(proto) ? [proto] : [])))]
  const start = nextFree(pools, protos, block, block[0] + (first[0] % guestBlock.size), widthOf(ranges))
  if (start === undefined)
    return diagnose('block-full', where, { block: formatPorts([block]), count: widthOf(ranges) })
  let next = start
  const given = new Map<string, PortRange>()
  for (const range of ranges) {
    const ports: PortRange = [next, next + range[1] - range[0]]
    given.set(range.join(), ports)
    next = ports[1] + 1
    if (!isAuto) continue
    for (const proto of protos) {
      takeOut(freeOf(pools, proto, block), ports)
      pools.given.push({ proto, ports, rule: marked })
    }
  }
  return given
}

/** A rule that names its ports takes them. Ports that NAT auto gave to a line below stay with that line. */
function takeNumbers(
  { marked, comment }: Read,
  usable: readonly Template[],
  pools: Pools,
  block: PortRange,
  view: View,
): Diagnostic | undefined {
  const paired = pairedPorts({ marked, comment, view }, usable)
  if ('code' in paired) return undefined
  for (const { proto, external } of paired.pairs) {
    const other = pools.given.find((one) => one.proto === proto && meets(one.ports, external))
    const both = other && meet(other.ports, external)
    if (both)
      return diagnose('auto-has', comment.places.ports ?? comment.places.all, {
        ports: formatPorts([both]),
        proto,
        line: placeName(other.rule.place),
      })
  }
  for (const { proto, external } of paired.pairs) takeOut(freeOf(pools, proto, block), external)
  return undefined
}

function freeOf({ free }: Pools, proto: string, block: PortRange): PortRange[] {
  const known = free.get(proto) ?? [block]
  free.set(proto, known)
  return known
}

/** The first port from `start` on, then from the beginning of the block, where so many are free side by side for each protocol. */
function nextFree(
  pools: Pools,
  protos: readonly string[],
  block: PortRange,
  start: number,
  width: number,
): number | undefined {
  const taken = protos.flatMap((proto) => {
    const rest = [block]
    for (const one of freeOf(pools, proto, block)) takeOut(rest, one)
    return rest
  })
  const free = [block]
  for (const one of mergePorts(taken)) takeOut(free, one)
  const starts = free
    .filter(([lo, hi]) => hi - lo + 1 >= width)
    .map(([lo, hi]): PortRange => [lo, hi - width + 1])
  const above = starts.find(([, last]) => last >= start)
  return above ? Math.max(above[0], start) : starts[0]?.[0]
}

function widthOf(ranges: readonly PortRange[]): number {
  return ranges.reduce((sum, [lo, hi]) => sum + hi - lo + 1, 0)
}

/** Rules that stay and whose given ports an edit would change. */
export function movedPorts(before: readonly NatRule[], after: readonly NatRule[]): Diagnostic[] {
  const old = new Map(before.map((rule) => [rule.id, rule]))
  return after.flatMap((rule, i) => {
    const known = old.get(rule.id)
    if (rule.asked?.kind !== 'auto' || !known) return []
    const [was, now] = [portsOf(known), portsOf(rule)].map(formatPorts)
    if (!was || !now || was === now) return []
    // A number takes no port that NAT auto gives to a line below, and none that another number has.
    const isTaken = after.some(
      (other, j) =>
        other !== rule &&
        (j > i || other.asked?.kind !== 'auto') &&
        isOfGuestOf(other, rule) &&
        [...portsOf(other), ...(other.asked?.ports ?? [])].some((ports) =>
          portsOf(known).some((own) => meets(own, ports)),
        ),
    )
    const meant = isTaken ? undefined : renderComment({ ports: was, options: [] })
    return [diagnose('auto-moved', rule.where, { was, now, meant })]
  })
}

function isOfGuestOf({ scope: one }: NatRule, { scope: other }: NatRule): boolean {
  return one.kind === 'guest' && other.kind === 'guest' && one.guest === other.guest
}

function portsOf({ forwards }: NatRule): PortRange[] {
  return [
    ...new Map(forwards.flatMap(({ ports }) => (ports ? [[ports.join(), ports] as const] : []))).values(),
  ]
}
