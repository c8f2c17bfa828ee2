/**
 * New connections of the last hour, by the minute. The nat table of the kernel sees only the first packet of a connection, so
 * what its counters gain is a number of connections, not of packets.
 */
import type { Counters } from '../node/published.ts'

export const MINUTES = 60

/** The counter as it was last, and its gains by the minute since 1970; minutes without a gain are not kept. */
interface Line {
  last: number
  gains: Map<number, number>
}

export interface History {
  /** Takes in a reading of the counters. */
  sample: (counters: Counters) => void
  /** Connections in each of the last minutes, the present one last; all 0 for a rule that is not known. */
  of: (id: string, now: number) => number[]
  /** Their sum. */
  hour: (id: string, now: number) => number
  /** When the first reading was taken (ms), undefined before it. */
  since: () => number | undefined
}

export function makeHistory(): History {
  let lines = new Map<string, Line>()
  let since: number | undefined
  const sample = ({ at, rules }: Counters): void => {
    const time = Date.parse(at)
    if (!Number.isFinite(time)) return
    const before = lines
    lines = new Map()
    for (const [id, [packets]] of rules) {
      // The packets of a rule before the first reading are not of this hour; a rule that came later began at 0.
      const line = before.get(id) ?? { last: since === undefined ? packets : 0, gains: new Map() }
      gain(line, Math.floor(time / 60_000), packets)
      lines.set(id, line)
    }
    since ??= time
  }
  const of = (id: string, now: number): number[] => {
    const first = Math.floor(now / 60_000) - MINUTES + 1
    return Array.from({ length: MINUTES }, (_, i) => lines.get(id)?.gains.get(first + i) ?? 0)
  }
  const hour = (id: string, now: number): number => of(id, now).reduce((sum, count) => sum + count, 0)
  return { sample, of, hour, since: () => since }
}

/** A counter that is lower than before began again at 0: its chain was written anew. */
function gain(line: Line, minute: number, packets: number): void {
  const gained = packets >= line.last ? packets - line.last : packets
  line.last = packets
  if (gained === 0) return
  line.gains.set(minute, (line.gains.get(minute) ?? 0) + gained)
  for (const old of line.gains.keys()) if (old <= minute - MINUTES) line.gains.delete(old)
}
