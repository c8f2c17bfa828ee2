/** NAT rules as the chains take them: those of one family, with the facts of the node that matter. */
import type { Family, Range } from '../address.ts'
import { grantedForwards } from '../nat/conflicts.ts'
import type { Block, Dispatch, Egress, Forward, NatRule } from '../nat/nat-rule.ts'
import type { View } from '../nat/view.ts'
import type { InternalNetwork } from '../network.ts'
import type { Sizes } from './split.ts'

export interface Wanted {
  family: Family
  dispatch: Dispatch
  /** All granted forwards, each once. */
  forwards: readonly Forward[]
  egresses: readonly Egress[]
  blocks: readonly Block[]
  internal: readonly InternalNetwork[]
  view: View
  sizes: Sizes
}

/** `active`: the NAT rules that take part. */
export function wantedOf(
  active: readonly NatRule[],
  dispatch: Dispatch,
  family: Family,
  view: View,
  sizes: Sizes,
): Wanted {
  const isOfFamily = (one: { family: Family }): boolean => one.family === family
  return {
    family,
    dispatch,
    forwards: grantedForwards(dispatch),
    egresses: active.flatMap(({ egresses }) => egresses).filter(isOfFamily),
    blocks: active.flatMap(({ blocks }) => blocks).filter(isOfFamily),
    internal: view.network.internal.filter(({ network }) => isOfFamily(network)),
    view,
    sizes,
  }
}

/** The forwards at each external address. */
export function forwardsByAddress({
  common,
  addresses,
}: Dispatch): { address: Range; forwards: Forward[] }[] {
  return addresses.map(({ address, special, common: shares }) => ({
    address,
    forwards: [...special, ...(shares ? common : [])],
  }))
}

/** Whether packets from inside may use a forward. */
export function isHairpin({ hairpin }: Forward, { settings }: View): boolean {
  return hairpin && settings.hairpin !== 'no'
}
