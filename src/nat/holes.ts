/** `NAT none` in IN rules: cuts ports out of wider forwards of the same guest, for all clients or for the source of the exemption. */
import { addressKey, contains, everything, mappedInto, without, type Range } from '../address.ts'
import { groupBy } from '../lists.ts'
import { meet, type PortRange } from '../ports.ts'
import { listOwner, matchOf } from './match.ts'
import type { Clients, Forward } from './nat-rule.ts'
import { innerPorts, cover, mapsNetwork } from './pieces.ts'

/** Forwards without the ports of the exemptions (`holes`). */
export function punchAll(forwards: readonly Forward[], holes: readonly Forward[]): Forward[] {
  if (holes.length === 0) return [...forwards]
  const byInner = groupBy(holes, ({ inner }) => addressKey(inner))
  const sources = new Map<string, Clients>()
  return forwards.flatMap((forward) => {
    if (mapsNetwork(forward)) return [punchNetwork(forward, holes)]
    const own = byInner.get(addressKey(forward.inner))
    return own ? punch(forward, own, sources) : [forward]
  })
}

/** A network that is mapped as a whole, without the exemptions of its addresses. */
function punchNetwork(forward: Forward, holes: readonly Forward[]): Forward {
  const own = holes.filter(({ inner }) => contains(forward.inner, inner))
  const except = forward.external.flatMap((outer) =>
    own.map((hole) => ({ ...hole, at: mappedInto(outer, hole.inner) })),
  )
  return { ...forward, except: [...forward.except, ...except] }
}

interface Segment {
  ports: PortRange | undefined
  holes: Clients[]
}

/** Divides a forward at the ends of every hole; each segment keeps the clients that it does not serve. */
function punch(forward: Forward, holes: readonly Forward[], sources: Map<string, Clients>): Forward[] {
  if (forward.full) return [{ ...forward, except: [...forward.except, ...holes] }]
  let segments: Segment[] = [{ ports: forward.ports, holes: [] }]
  for (const hole of holes) {
    if (hole.proto !== forward.proto) continue
    const ports = shifted(forward, hole)
    segments = segments.flatMap((segment) => split(segment, ports, hole.source))
  }
  return segments.flatMap((segment) => {
    const source = excluding(forward, segment.holes, sources)
    if (source.ranges !== 'any' && source.ranges.length === 0) return []
    return cover(forward, segment.ports).map((part) => ({ ...part, source }))
  })
}

/** The external ports of a forward that lead to the inner ports of a hole. */
function shifted({ ports, innerPort = 0, single }: Forward, hole: Forward): PortRange | undefined {
  if (!ports || !hole.ports) return ports
  const [lo, hi] = innerPorts(hole) ?? [0, 0]
  if (single) return lo <= innerPort && innerPort <= hi ? ports : [0, 0]
  return [lo + ports[0] - innerPort, hi + ports[0] - innerPort]
}

function split({ ports, holes }: Segment, hole: PortRange | undefined, source: Clients): Segment[] {
  if (!ports || !hole) return [{ ports, holes: [...holes, source] }]
  const both = meet(ports, hole)
  if (!both) return [{ ports, holes }]
  const [lo, hi] = both
  return [
    ...(ports[0] < lo ? [{ ports: [ports[0], lo - 1] as const, holes }] : []),
    { ports: both, holes: [...holes, source] },
    ...(hi < ports[1] ? [{ ports: [hi + 1, ports[1]] as const, holes }] : []),
  ]
}

/** The clients of a forward without some; the same question comes up for many forwards. */
function excluding(
  { source, family, rule }: Forward,
  holes: readonly Clients[],
  known: Map<string, Clients>,
): Clients {
  if (holes.length === 0) return source
  const key = [listOwner(rule.scope), family, source.key, ...new Set(holes.map(({ key }) => key))].join(' ')
  const found = known.get(key)
  if (found) return found
  const before: Range[] = source.ranges === 'any' ? [everything(family)] : source.ranges
  const ranges = holes.reduce(
    (rest, hole) => (hole.ranges === 'any' ? [] : hole.ranges.reduce(without, rest)),
    before,
  )
  const match = matchOf(ranges, listOwner(rule.scope))
  known.set(key, match)
  return match
}
