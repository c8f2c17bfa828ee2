/** Whether anybody else asks for the same: most forwards have their ports to themselves, and need not be compared with thousands. */
import type { PortRange } from '../ports.ts'
import type { Forward } from './model.ts'

const ALL_PORTS: PortRange = [0, 65_535]

/**
 * The forwards no port of which another one wants, whoever its clients are; they are granted as they are. None when
 * one of them takes all that is left (full=1): what that is depends on every other.
 */
export function unrivalled(forwards: readonly Forward[]): ReadonlySet<Forward> {
  if (forwards.some(({ full }) => full)) return new Set()
  const protos = new Map<string, Int32Array>()
  for (const { proto, ports = ALL_PORTS } of forwards) {
    const steps = protos.get(proto) ?? new Int32Array(ALL_PORTS[1] + 2)
    protos.set(proto, steps)
    steps[ports[0]]! += 1
    steps[ports[1] + 1]! -= 1
  }
  const contested = new Map([...protos].map(([proto, steps]) => [proto, countContested(steps)]))
  return new Set(
    forwards.filter(({ proto, ports: [lo, hi] = ALL_PORTS }) => {
      const counts = contested.get(proto)
      return counts && counts[hi + 1] === counts[lo]
    }),
  )
}

/** How many ports below each are wanted more than once, from how the number of those who want them changes at each. */
function countContested(steps: Int32Array): Int32Array {
  const counts = new Int32Array(steps.length)
  let wanted = 0
  for (let port = 0; port + 1 < steps.length; port++) {
    wanted += steps[port] ?? 0
    counts[port + 1] = (counts[port] ?? 0) + (wanted > 1 ? 1 : 0)
  }
  return counts
}
