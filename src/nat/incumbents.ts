/**
 * Who has a port keeps it. Clones and restored backups bring copies of NAT comments every day; a newcomer, whatever its VMID, must
 * not take a port that is in force for another guest. What a guest holds is remembered port by port and address by
 * address, so that a rule which is widened gains nothing that others have.
 */
import { addressKey, FAMILIES, formatRange, parseIp, type Family, type Range } from '../address.ts'
import { mergePorts, type PortRange } from '../ports.ts'
import type { Dispatch, Forward } from './model.ts'
import { sourceKey } from './sources.ts'

/** Lines `VMID FAMILY ADDRESS SOURCE PROTOCOL LO-HI INNER`; `*` for all addresses, `-` for a protocol without ports. */
export type Incumbents = ReadonlySet<string>

/** What the state remembers of a dispatch: every claim of a guest that is granted. */
export function claimLines(dispatch: Record<Family, Dispatch>): string[] {
  const lines = FAMILIES.flatMap((family) => [
    ...dispatch[family].common.flatMap((forward) => claimLine(forward, undefined)),
    ...dispatch[family].addresses.flatMap(({ address, special }) =>
      special.flatMap((forward) => claimLine(forward, address)),
    ),
  ])
  return [...new Set(lines)]
}

/** What a forward held before, for the clients that it names now: ports that do not touch. Undefined: nothing. */
export type Held = (forward: Forward) => PortRange[] | undefined

/** Looks up what was held at one address, or (undefined) at all of them. Who had a port for anybody has it for some, too. */
export function heldAt(incumbents: Incumbents, address: Range | undefined): Held {
  const held = new Map<string, PortRange[]>()
  const wheres = ['*', ...(address ? [formatRange(address)] : [])]
  for (const line of incumbents) {
    const [vmid, family, where = '', source, proto, ports = ''] = line.split(' ')
    if (!wheres.includes(where) || !/^(-|\d{1,5}-\d{1,5})$/.test(ports)) continue
    const [lo = 0, hi = lo] = ports === '-' ? [0] : ports.split('-').map(Number)
    const key = `${vmid} ${family} ${source} ${proto}`
    const ranges = held.get(key)
    if (ranges) ranges.push([lo, hi])
    else held.set(key, [[lo, hi]])
  }
  return ({ rule: { scope }, family, proto, source }) => {
    if (scope.kind !== 'guest') return undefined
    const sources = [...new Set(['any', sourceKey(source)])]
    const ranges = sources.flatMap((one) => held.get(`${scope.guest.vmid} ${family} ${one} ${proto}`) ?? [])
    return ranges.length > 0 ? mergePorts(ranges) : undefined
  }
}

/** Which guest had NAT in force with which inner address; none for an address that several had. */
export function innerHolders(incumbents: Incumbents): Map<string, number> {
  const vmids = new Map<string, Set<number>>()
  for (const line of incumbents) {
    const [vmid, , , , , , inner = ''] = line.split(' ')
    const range = parseIp(inner)
    if (!range) continue
    const key = addressKey(range)
    vmids.set(key, (vmids.get(key) ?? new Set()).add(Number(vmid)))
  }
  return new Map(
    [...vmids].flatMap(([key, [vmid, ...more]]) =>
      vmid !== undefined && more.length === 0 ? [[key, vmid]] : [],
    ),
  )
}

/** Whether anything was held at this very address. */
export function isHeldApart(incumbents: Incumbents, address: Range): boolean {
  const where = ` ${formatRange(address)} `
  for (const line of incumbents) if (line.includes(where)) return true
  return false
}

/** What every line of a forward ends with: the same forward is asked for again and again. */
const endOf = new WeakMap<Forward, string>()

function claimLine(forward: Forward, address: Range | undefined): string[] {
  const { rule, family, proto, ports, source, inner } = forward
  const { scope } = rule
  if (scope.kind !== 'guest') return []
  // Joined at once: a string that is put together piece by piece keeps its pieces.
  const end =
    endOf.get(forward) ?? [sourceKey(source), proto, ports?.join('-') ?? '-', formatRange(inner)].join(' ')
  endOf.set(forward, end)
  return [`${scope.guest.vmid} ${family} ${address ? formatRange(address) : '*'} ${end}`]
}
