/** The packet that is asked about, and its form on the command line: PROTO SRC[:PORT] DST[:PORT]. */
import { formatRange, parseIp, type Family, type Range } from '../address.ts'
import { ICMP, protocolName, WITH_PORTS, WITHOUT_PORTS } from '../nat/template.ts'

export interface Packet {
  family: Family
  /** As rules name it: tcp, udp, sctp, icmp, icmpv6, esp … */
  proto: string
  source: Range
  /** Undefined: whatever a client takes. */
  sport?: number | undefined
  destination: Range
  /** Undefined for protocols without ports. */
  dport?: number | undefined
}

export const PACKET_PROTOCOLS: ReadonlySet<string> = new Set([...WITH_PORTS, ...ICMP, ...WITHOUT_PORTS])

/** Reads the three words; a sentence says what is wrong with them. */
export function parsePacket(words: readonly string[]): Packet | string {
  const [word = '', from = '', to = ''] = words
  if (words.length !== 3) return 'explain takes PROTO SRC[:PORT] DST:PORT'
  const name = protocolName(word.toLowerCase())
  if (!PACKET_PROTOCOLS.has(name))
    return `'${word}' is no protocol that explain knows: ${[...PACKET_PROTOCOLS].sort().join(', ')}`
  const [source, destination] = [parseEnd(from), parseEnd(to)]
  if (!source) return `'${from}' is not ADDRESS or ADDRESS:PORT; IPv6 is [ADDRESS]:PORT`
  if (!destination) return `'${to}' is not ADDRESS:PORT; IPv6 is [ADDRESS]:PORT`
  const { family } = source.ip
  if (family !== destination.ip.family) return `'${from}' and '${to}' are of different families`
  const proto = ICMP.has(name) ? (family === 4 ? 'icmp' : 'icmpv6') : name
  const [sport, dport] = [source.port, destination.port]
  const hasPorts = WITH_PORTS.has(proto)
  if (hasPorts && dport === undefined)
    return `${proto} needs a port: ${proto} ${from} ${endpoint(destination.ip, 80)}`
  if (!hasPorts && (dport ?? sport) !== undefined) return `${proto} has no ports`
  return { family, proto, source: source.ip, sport, destination: destination.ip, dport }
}

/** Where clients take their ports from, on every system of today. */
const CLIENT_PORTS = [32768, 60999] as const

/** Whether a port lies in a range; one that nobody told is any that clients take. */
export function inPorts([lo, hi]: readonly [number, number], port: number | undefined): boolean {
  return port === undefined ? lo <= CLIENT_PORTS[0] && CLIENT_PORTS[1] <= hi : lo <= port && port <= hi
}

/** As `inPorts`; undefined where some of the ports that clients take are in the range and some are not. */
export function surelyInPorts(
  range: readonly [number, number],
  port: number | undefined,
): boolean | undefined {
  const [from, to] = CLIENT_PORTS
  const isPart = port === undefined && range[0] <= to && from <= range[1]
  return inPorts(range, port) || (isPart ? undefined : false)
}

function parseEnd(text: string): { ip: Range; port?: number } | undefined {
  const bare = parseIp(text)
  if (bare) return { ip: bare }
  const [, v6, v4, digits] = /^(?:\[([^\]]+)\]|(\d+\.\d+\.\d+\.\d+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const ip = parseIp(v6 ?? v4 ?? '')
  if (!ip || (v6 !== undefined && ip.family !== 6)) return undefined
  if (digits === undefined) return { ip }
  const port = Number(digits)
  return port >= 1 && port <= 65535 ? { ip, port } : undefined
}

/** `10.0.0.1:80`, `[fd00::1]:80`, or the bare address without a port. */
export function endpoint(address: Range, port: number | undefined): string {
  const text = formatRange(address)
  if (port === undefined) return text
  return address.family === 6 ? `[${text}]:${port}` : `${text}:${port}`
}
