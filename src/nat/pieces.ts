/** Forwards cut at ports. */
import type { PortRange } from '../ports.ts'
import type { Forward } from './nat-rule.ts'

/** The inner ports of a forward; undefined when it has none. */
export function innerPorts({ ports, innerPort, single }: Forward): PortRange | undefined {
  if (!ports || innerPort === undefined) return undefined
  return [innerPort, single ? innerPort : innerPort + ports[1] - ports[0]]
}

/** The part of a forward at some of its ports; all of it when no ports are named. */
export function cover(forward: Forward, within: PortRange | undefined): Forward[] {
  const { ports, innerPort = 0, single } = forward
  if (!ports || !within) return [forward]
  const [lo, hi] = [Math.max(ports[0], within[0]), Math.min(ports[1], within[1])]
  if (lo > hi) return []
  if (lo === ports[0] && hi === ports[1]) return [forward]
  return [{ ...forward, ports: [lo, hi], innerPort: single ? innerPort : innerPort + lo - ports[0] }]
}
