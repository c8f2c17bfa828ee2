/** The number of lines that the files of one guest may cause: ten edits a second would fill every log. */

/** Lines of one guest in an hour (VMID 0: of the node), its last one included, in the firewall log and in the journal. */
export const HOURLY_LINES = { log: { guest: 60, node: 300 }, journal: { guest: 300, node: 1500 } } as const

/** `last`: this line is replaced by the notice that no more follow in this hour. */
type Allowed = 'line' | 'last' | 'none'

/** Takes one line of a guest's allowance at a time (milliseconds since 1970). */
export function makeAllowance(
  lines: (typeof HOURLY_LINES)[keyof typeof HOURLY_LINES],
): (vmid: number, atMs: number) => Allowed {
  let hour = NaN
  const used = new Map<number, number>()
  return (vmid, atMs) => {
    const thisHour = Math.floor(atMs / 3_600_000)
    if (thisHour !== hour) used.clear()
    hour = thisHour
    const count = (used.get(vmid) ?? 0) + 1
    used.set(vmid, count)
    const most = vmid === 0 ? lines.node : lines.guest
    return count < most ? 'line' : count === most ? 'last' : 'none'
  }
}
