/**
 * Who has a port keeps it. Clones and restored backups bring copies of NAT comments every day; a newcomer, whatever its VMID, must
 * not take a port that is in force for another guest. What a guest holds is remembered port by port and address by
 * address, so that a rule which is widened gains nothing that others have.
 */
import { FAMILIES, formatRange, type Family, type Range } from '../address.ts'
import type { Dispatch } from './claims.ts'
import type { PortRange } from './comment.ts'
import type { Forward } from './model.ts'

/** Lines `VMID FAMILY ADDRESS PROTOCOL LO-HI`; `*` for all addresses, `-` for a protocol without ports. */
export type Incumbents = ReadonlySet<string>

/** What the state remembers of a dispatch: every claim of a guest that is granted. Sorted. */
export function claimLines(dispatch: Record<Family, Dispatch>): string[] {
  const lines = FAMILIES.flatMap((family) => [
    ...dispatch[family].common.flatMap((forward) => claimLine(forward, undefined)),
    ...dispatch[family].addresses.flatMap(({ address, special }) =>
      special.flatMap((forward) => claimLine(forward, address)),
    ),
  ])
  return [...new Set(lines)].sort()
}

/** What a forward held before at an address; at all of them alike when no address is given. Undefined: nothing. */
export type Held = (forward: Forward) => PortRange[] | undefined

/** Looks up what was held at one address, or (undefined) at all of them. */
export function heldAt(incumbents: Incumbents, address: Range | undefined): Held {
  const held = new Map<string, PortRange[]>()
  const wheres = ['*', ...(address ? [formatRange(address)] : [])]
  for (const line of incumbents) {
    const [vmid, family, where = '', proto, ports = ''] = line.split(' ')
    if (!wheres.includes(where)) continue
    const key = `${vmid} ${family} ${proto}`
    const [lo = 0, hi = 0] = ports.split('-').map(Number)
    held.set(key, [...(held.get(key) ?? []), [lo, hi]])
  }
  return ({ rule: { scope }, family, proto }) =>
    scope.kind === 'guest' ? held.get(`${scope.guest.vmid} ${family} ${proto}`) : undefined
}

/** Whether anything was held at this very address. */
export function isHeldApart(incumbents: Incumbents, address: Range): boolean {
  const where = ` ${formatRange(address)} `
  return [...incumbents].some((line) => line.includes(where))
}

function claimLine({ rule: { scope }, family, proto, ports }: Forward, address: Range | undefined): string[] {
  if (scope.kind !== 'guest') return []
  const where = address ? formatRange(address) : '*'
  return [`${scope.guest.vmid} ${family} ${where} ${proto} ${ports?.join('-') ?? '-'}`]
}
