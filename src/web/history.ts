/**
 * New connections of the last hour, by the minute. The nat table of the kernel sees only the first packet of a connection, so
 * what its counters gain is a number of connections, not of packets.
 */
import type { Counters } from './published.ts'

export const MINUTES = 60

/** So many rules are remembered; it bounds the memory. */
const MAX_RULES = 20_000

interface Line {
  /** The counter as it was last. */
  last: number
  /** A ring: minute since 1970 modulo its length. */
  counts: Uint32Array
  /** The minute that was written last. */
  minute: number
}

export interface History {
  /** Takes in a reading of the counters. */
  sample: (counters: Counters) => void
  /** Connections in each of the last minutes, the present one last; all 0 for a rule that is not known. */
  of: (id: string, now: number) => number[]
  /** Their sum. */
  hour: (id: string, now: number) => number
  /** When the first reading was taken (ms), undefined before it. */
  readonly since: number | undefined
}

export function makeHistory(): History {
  const lines = new Map<string, Line>()
  let since: number | undefined
  const sample = ({ at, rules }: Counters): void => {
    const time = Date.parse(at)
    if (!Number.isFinite(time)) return
    const minute = Math.floor(time / 60_000)
    for (const id of lines.keys()) if (!rules.has(id)) lines.delete(id)
    for (const [id, [packets]] of rules) {
      const line = lines.get(id)
      if (line) gain(line, minute, packets)
      else if (lines.size < MAX_RULES) {
        const fresh: Line = { last: 0, counts: new Uint32Array(MINUTES), minute }
        lines.set(id, fresh)
        // What a rule had before anybody looked did not happen just now; a rule that came later began at 0.
        if (since === undefined) fresh.last = packets
        else gain(fresh, minute, packets)
      }
    }
    since ??= time
  }
  const of = (id: string, now: number): number[] => {
    const line = lines.get(id)
    const last = Math.floor(now / 60_000)
    return Array.from({ length: MINUTES }, (_, i) => {
      const minute = last - MINUTES + 1 + i
      const isHeld = line && minute <= line.minute && minute > line.minute - MINUTES
      return isHeld ? (line.counts[minute % MINUTES] ?? 0) : 0
    })
  }
  return {
    sample,
    of,
    hour: (id, now) => of(id, now).reduce((sum, count) => sum + count, 0),
    get since() {
      return since
    },
  }
}

/** A counter that is lower than before began again at 0: its chain was written anew. */
function gain(line: Line, minute: number, packets: number): void {
  const gained = packets >= line.last ? packets - line.last : packets
  line.last = packets
  const steps = Math.min(MINUTES, minute - line.minute)
  for (let i = 1; i <= steps; i++) line.counts[(minute - steps + i) % MINUTES] = 0
  if (minute > line.minute) line.minute = minute
  const at = line.minute % MINUTES
  line.counts[at] = (line.counts[at] ?? 0) + gained
}
