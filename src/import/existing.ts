/** Forwards that rules of the .fw files have already, beside those of an imported rule. */
import { contains, overlap, sameRange } from '../address.ts'
import type { Forward, NatRule } from '../nat/nat-rule.ts'
import { innerPortOf } from '../nat/pieces.ts'
import { meets, type PortRange } from '../ports.ts'

/** The rule that leads all of `forwards` to the same place; undefined when there is none. */
export function servedBy(forwards: readonly Forward[], existing: readonly NatRule[]): NatRule | undefined {
  if (forwards.length === 0) return undefined
  return existing.find((rule) => forwards.every((one) => rule.forwards.some((other) => serves(other, one))))
}

/** Whether one of `existing` has a port that `forwards` ask for. */
export function isTaken(forwards: readonly Forward[], existing: readonly NatRule[]): boolean {
  return existing.some((rule) => rule.forwards.some((one) => forwards.some((other) => meet(one, other))))
}

function serves(one: Forward, other: Forward): boolean {
  return (
    one.family === other.family &&
    one.proto === other.proto &&
    one.source.key === other.source.key &&
    one.snat === other.snat &&
    sameRange(one.inner, other.inner) &&
    other.external.every((at) => one.external.some((own) => contains(own, at))) &&
    (other.ports === undefined ? one.ports === undefined : leadsAlike(one, other, other.ports))
  )
}

/** Whether both lead these ports to the same inner ports. */
function leadsAlike(one: Forward, other: Forward, [lo, hi]: PortRange): boolean {
  const { ports } = one
  if (!ports || lo < ports[0] || ports[1] < hi) return false
  return [lo, hi].every((port) => innerPortOf(one, port) === innerPortOf(other, port))
}

function meet(one: Forward, other: Forward): boolean {
  return (
    one.family === other.family &&
    (one.proto === other.proto || one.full) &&
    one.external.some((at) => other.external.some((own) => overlap(at, own))) &&
    (!one.ports || !other.ports || meets(one.ports, other.ports))
  )
}
