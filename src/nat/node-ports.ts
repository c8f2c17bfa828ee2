/**
 * Ports and protocols of the node itself, which take precedence over all rights of guests: listening services, ports that other programs
 * publish by DNAT, protocols of tunnels. A port stays with the node for a while after its service ended, so that a service that restarts or
 * starts late finds its port.
 */
import { formatRange, parseIp, type Family, type Range } from '../address.ts'
import type { PortRange } from '../ports.ts'
import type { Socket } from './sockets.ts'

export interface NodePort {
  /** tcp, udp, or a protocol without ports. */
  proto: string
  ports?: PortRange
  /** Undefined: every address, of one family if it is named. */
  address?: Range
  family?: Family
  /** A rule of others leads it there; the guest that has this address may ask for the same. */
  to?: Range
  /** Who has it, for messages. */
  holder: string
  /** Seen once, so perhaps the socket of a single query: it has no grace period. */
  isFleeting?: true
  /** Seconds since 1970: not in use any more, kept for the node until then. */
  until?: number
}

/** Grace period of a port after its service ended, and after a boot. */
export const GRACE_SECONDS = 600

/**
 * The ports of the node: those in use (`seen`), and those in their grace period. `before`: the ports that the state remembers. The grace period
 * of a port that was in use then begins at `now`.
 */
export function nodePortsNow(
  seen: readonly NodePort[],
  before: readonly NodePort[],
  now: number,
): NodePort[] {
  const last = now + GRACE_SECONDS
  const keys = new Set(seen.map(keyOf))
  const gone = before.flatMap((port): NodePort[] => {
    const until = Math.min(port.until ?? last, last)
    return keys.has(keyOf(port)) || until <= now ? [] : [{ ...port, until }]
  })
  const unique = new Map([...seen, ...gone].map((port) => [keyOf(port), port]))
  return [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, port]) => port)
}

/** As the state keeps it. */
export interface StoredPort {
  proto: string
  ports?: PortRange
  address?: string
  family?: Family
  to?: string
  holder: string
  until?: number
}

export function storePorts(ports: readonly NodePort[]): StoredPort[] {
  return ports.flatMap(({ isFleeting, address, to, ...port }) =>
    isFleeting
      ? []
      : [
          {
            ...port,
            ...(address ? { address: formatRange(address) } : {}),
            ...(to ? { to: formatRange(to) } : {}),
          },
        ],
  )
}

/** Invalid entries are left out. */
export function restorePorts(stored: readonly StoredPort[]): NodePort[] {
  return stored.flatMap(({ address: text, to: target, ...port }) => {
    const [address, to] = [text, target].map((one) => (one === undefined ? undefined : parseIp(one)))
    if (text !== undefined && !address) return []
    return [{ ...port, ...(address ? { address } : {}), ...(to ? { to } : {}) }]
  })
}

function keyOf({ proto, ports, address, family, to }: NodePort): string {
  return [proto, ports?.join('-'), address?.lo, address?.family ?? family, to?.lo].join(' ')
}

/** The listening sockets as ports of the node. */
export function listeningPorts(sockets: readonly Socket[]): NodePort[] {
  return sockets.map(({ proto, port, address, family, holder }) => ({
    proto,
    ports: [port, port],
    ...(address ? { address } : family ? { family } : {}),
    holder: holder || 'a service of this node',
  }))
}

/** `14:05`, by the clock of this node. */
export function clockTime(seconds: number): string {
  return new Date(seconds * 1000).toTimeString().slice(0, 5)
}
