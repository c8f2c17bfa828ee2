/** Help for a rule that cannot have the ports that it asks for: the free ones next to them. */
import { FAMILIES, formatRange, type Family } from '../address.ts'
import type { Wish } from '../advice.ts'
import type { Diagnostic } from '../diagnostic.ts'
import { append } from '../lists.ts'
import { formatPorts, mergePorts, takeOut, within, type PortRange } from '../ports.ts'
import { parseComment } from './comment.ts'
import { grantedForwards } from './conflicts.ts'
import { fieldPlace, type Marked } from './marked.ts'
import type { Dispatch } from './nat-rule.ts'
import { aroundOf, innerRanges } from './pairing.ts'
import { allowedPorts, nodesPorts } from './policy.ts'
import { templates, WITH_PORTS } from './template.ts'
import { renderComment } from './free-text.ts'
import type { View } from './view.ts'

/** Ranges that are told; a person needs one. */
const MAX_TOLD = 5

/** Fills the wishes of the diagnostics. `origin` finds a marked rule by the id of its NAT rule. */
export function fillWishes(
  diagnostics: readonly Diagnostic[],
  origin: (id: string) => Marked | undefined,
  dispatch: Record<Family, Dispatch>,
  view: View,
): Diagnostic[] {
  const granted = new Map<string, PortRange[]>()
  return diagnostics.map((one) => {
    const { wish, count } = one.facts as Partial<Wish>
    const marked = wish === undefined ? undefined : origin(wish)
    if (!marked) return one
    if (granted.size === 0) collectGranted(granted, dispatch)
    return { ...one, facts: { ...(one.facts as Wish), ...freeFor(marked, granted, view, count) } }
  })
}

function collectGranted(granted: Map<string, PortRange[]>, dispatch: Record<Family, Dispatch>): void {
  const all = FAMILIES.flatMap((family) => grantedForwards(dispatch[family]))
  granted.set('', [])
  for (const { proto, ports } of all) if (ports) append(granted, proto, ports)
  for (const [proto, list] of granted) granted.set(proto, mergePorts(list))
}

function freeFor(
  marked: Marked,
  granted: ReadonlyMap<string, PortRange[]>,
  view: View,
  count: number | undefined,
): Pick<Wish, 'free' | 'proposal'> {
  const { rule, scope } = marked
  // With a source port the external port stands in two places.
  if (rule.type === 'out' || rule.sport !== undefined) return {}
  const asked = FAMILIES.flatMap((family) => templates(rule, family, view.services))
  const protos = new Set(
    asked.flatMap(({ proto }) => (proto === '' ? ['tcp', 'udp'] : WITH_PORTS.has(proto) ? [proto] : [])),
  )
  const taken = mergePorts(
    [...protos].flatMap((proto) => [...nodesPorts(proto, view), ...(granted.get(proto) ?? [])]),
  )
  const free = mergePorts(allowedPorts(scope, view))
  for (const ports of taken) takeOut(free, ports)
  const comment = parseComment(
    rule.comment,
    fieldPlace(marked, 'comment'),
    aroundOf(rule, view.network, view.services),
  )
  const inner = innerRanges(asked)
  const { address, ports: named } = comment.endpoint ?? {}
  const typed = named ?? inner
  const wanted =
    count === undefined ? typed : typed.slice(0, 1).map(([lo]): PortRange => [lo, lo + count - 1])
  const ports = nearestFree(wanted, free, inner.length === 0)
  const told = free.slice(0, MAX_TOLD)
  return {
    free: formatPorts(told) + (free.length > told.length ? ' and more' : ''),
    proposal:
      ports &&
      renderComment({
        address: address && formatRange(address),
        ports: formatPorts(ports),
        options: comment.options,
      }),
  }
}

/** For each range the free one of its width that is next to it; without its gaps (`isLoose`) where the inner ports follow the external ones. */
function nearestFree(
  wanted: readonly PortRange[],
  free: readonly PortRange[],
  isLoose: boolean,
): PortRange[] | undefined {
  const left = [...free]
  const found: PortRange[] = []
  for (const range of wanted) {
    const parts = isLoose && range[0] < range[1] ? within(left, range) : []
    const run = parts.length > 0 ? parts : nearestRun(left, range)
    if (!run) return undefined
    for (const one of run) takeOut(left, one)
    found.push(...run)
  }
  return found.length > 0 ? found : undefined
}

/** The run as wide as the range that begins least far from it, upwards first. */
function nearestRun(free: readonly PortRange[], [lo, hi]: PortRange): [PortRange] | undefined {
  const width = hi - lo
  const starts = free
    .filter(([from, to]) => to - from >= width)
    .map(([from, to]) => Math.min(Math.max(lo, from), to - width))
  const above = starts.find((start) => start >= lo)
  const start = above ?? starts.filter((one) => one < lo).at(-1)
  return start === undefined ? undefined : [[start, start + width]]
}
