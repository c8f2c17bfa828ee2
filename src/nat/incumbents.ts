/**
 * Who has a port keeps it. Clones and restored backups bring copies of NAT comments every day; a newcomer, whatever its VMID, must
 * not take a forward that is in force.
 */
import { FAMILIES, formatRange, type Family } from '../address.ts'
import type { Dispatch } from './claims.ts'
import type { Forward, NatRule } from './model.ts'

/** The claims of every guest rule of which anything is granted: what the state remembers. */
export function claimKeys(dispatch: Record<Family, Dispatch>): string[] {
  const granted = FAMILIES.flatMap((family) => [
    ...dispatch[family].common,
    ...dispatch[family].addresses.flatMap(({ special }) => special),
  ])
  return [...new Set(granted.map(({ rule }) => rule))].flatMap(({ forwards }) => forwards.flatMap(claimKey))
}

/** Whether a rule was in force before. */
export function isIncumbent({ forwards }: NatRule, incumbents: ReadonlySet<string>): boolean {
  return incumbents.size > 0 && forwards.flatMap(claimKey).some((key) => incumbents.has(key))
}

/** The guest, what it asks for and where it leads; not the words of the comment, which may be edited. */
function claimKey({ rule: { scope }, family, proto, ports, inner }: Forward): string[] {
  if (scope.kind !== 'guest') return []
  return [[scope.guest.vmid, family, proto, ports?.join('-') ?? '', formatRange(inner)].join(' ')]
}
