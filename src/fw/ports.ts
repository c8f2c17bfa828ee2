/** Port lists as pve-firewall reads them. */
import type { PortRange } from '../ports.ts'
import { splitList } from './bytes.ts'
import { isIcmpTypeName } from './icmptypes.ts'

type PortList = { ports: PortRange[] } | { error: string }

/** iptables' multiport takes 15 numbers; a range counts as two, a service name as none (upstream's way of counting). */
const MAX_NUMBERS = 15
const MAX_PORT = 65535

/** One item: its range and how many numbers it counts; or what upstream says against it. */
function parseItem(
  item: string,
  services: ReadonlyMap<string, number>,
): { range: PortRange; numbers: number } | { error: string } {
  const digits = /^(\d+)(?::(\d+))?$/.exec(item)
  if (digits === null) {
    const port = services.get(item)
    return port === undefined ? { error: `invalid port '${item}'` } : { range: [port, port], numbers: 0 }
  }
  const [, first = '', second] = digits
  const lo = Number(first)
  if (lo > MAX_PORT) return { error: `invalid port '${first}'` }
  if (second === undefined) return { range: [lo, lo], numbers: 1 }
  const hi = Number(second)
  if (hi > MAX_PORT) return { error: `invalid port '${second}'` }
  if (lo > hi) return { error: `backwards range '${item}' not allowed, did you mean '${second}:${first}'?` }
  return { range: [lo, hi], numbers: 2 }
}

/**
 * Reads a comma list of `N`, `N:M` and service names, with upstream's messages (Firewall.pm,
 * `parse_port_name_number_or_range`). Port 0 passes, as upstream: a caller that means ports must refuse it.
 * With `icmp` (the protocol is an icmp one) names of icmp types pass, too, and yield no range.
 */
export function parsePortList(text: string, services: ReadonlyMap<string, number>, icmp = false): PortList {
  const items = splitList(text)
  if (items === undefined) return { error: 'extraneous commas in list' }
  const ports: PortRange[] = []
  let numbers = 0
  let icmpName = false
  for (const item of items) {
    if (icmp && isIcmpTypeName(item)) {
      icmpName = true
      continue
    }
    const parsed = parseItem(item, services)
    if ('error' in parsed) return parsed
    ports.push(parsed.range)
    numbers += parsed.numbers
  }
  if (icmpName && numbers > 0) return { error: 'ICMP ports not allowed in port range' }
  if (numbers > MAX_NUMBERS) return { error: `too many entries in port list (> ${MAX_NUMBERS} numbers)` }
  return { ports }
}
