/** Forwards cut at ports. */
import { meet, type PortRange } from '../ports.ts'
import type { Forward } from './nat-rule.ts'

/** The inner ports of a forward; undefined when it has none. */
export function innerPorts({ ports, innerPort, single }: Forward): PortRange | undefined {
  if (!ports || innerPort === undefined) return undefined
  return [innerPort, single ? innerPort : innerPort + ports[1] - ports[0]]
}

/** The inner port to which a forward leads an external one; the same one where it moves none. */
export function innerPortOf({ ports, innerPort, single }: Forward, port: number): number {
  if (innerPort === undefined) return port
  return single || !ports ? innerPort : innerPort + port - ports[0]
}

/** Whether it leads each address of a network to one of another network (full=1). */
export function mapsNetwork({ inner }: Forward): boolean {
  return inner.lo < inner.hi
}

/** The part of a forward at some of its ports; all of it when no ports are named. */
export function cover(forward: Forward, within: PortRange | undefined): Forward[] {
  const { ports, innerPort = 0, single } = forward
  if (!ports || !within) return [forward]
  const both = meet(ports, within)
  if (!both) return []
  if (both[0] === ports[0] && both[1] === ports[1]) return [forward]
  return [{ ...forward, ports: both, innerPort: single ? innerPort : innerPort + both[0] - ports[0] }]
}
