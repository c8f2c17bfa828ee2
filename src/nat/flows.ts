/**
 * Flows that conntrack keeps on an old way. A client that goes on sending UDP keeps its entry for ever, untranslated or towards a
 * former target; such entries must go, right ones must stay. TCP ends by itself.
 */
import { FAMILIES, formatRange, overlap, parseIp, type Family, type Range } from '../address.ts'
import type { Dispatch, Forward } from './model.ts'

/** One line of `conntrack -L`: what the client asked for, and who answers. */
export interface Flow {
  proto: string
  source: Range
  destination: Range
  sport: number
  dport: number
  replySource: Range
  replySport: number
}

export function parseFlows(text: string): Flow[] {
  return text.split('\n').flatMap((line) => {
    const [, proto = '', words = ''] = /^(\w+)\s+\d+\s+(.*)$/.exec(line) ?? []
    const [source, replySource] = all(words, 'src').map(parseIp)
    const [destination] = all(words, 'dst').map(parseIp)
    const [sport = 0, replySport = 0] = all(words, 'sport').map(Number)
    const [dport = 0] = all(words, 'dport').map(Number)
    if (!source || !destination || !replySource) return []
    return [{ proto, source, destination, sport, dport, replySource, replySport }]
  })
}

function all(words: string, name: string): string[] {
  return [...words.matchAll(new RegExp(`(?:^| )${name}=(\\S+)`, 'g'))].map(([, value = '']) => value)
}

/** Lines `FAMILY PROTOCOL ADDRESS LO-HI`, one for each external endpoint of ours; what the state remembers. */
export function endpointLines(dispatch: Record<Family, Dispatch>): string[] {
  const lines = FAMILIES.flatMap((family) =>
    dispatch[family].addresses.flatMap(({ address, special, common }) =>
      [...special, ...(common ? dispatch[family].common : [])].flatMap(({ proto, ports }) =>
        ports ? [`${family} ${proto} ${formatRange(address)} ${ports[0]}-${ports[1]}`] : [],
      ),
    ),
  )
  return [...new Set(lines)]
}

/**
 * The flows to end: those to an endpoint that is or was ours whose answers do not come from where they should.
 * `loop` are the addresses by which a guest reaches itself.
 */
export function staleFlows(
  flows: readonly Flow[],
  dispatch: Record<Family, Dispatch>,
  endpoints: ReadonlySet<string>,
  loop: readonly Range[],
): Flow[] {
  const ours = endpointIndex(endpoints)
  return flows.filter((flow) => {
    const { proto, destination, dport, replySource, replySport } = flow
    const ranges = ours.get(`${destination.family} ${proto} ${formatRange(destination)}`)
    if (!ranges?.some(([lo, hi]) => lo <= dport && dport <= hi)) return false
    if (loop.some((range) => overlap(range, replySource))) return false
    const target = targetOf(flow, dispatch[destination.family])
    const wanted = target ?? { address: destination, port: dport }
    return replySource.lo !== wanted.address.lo || replySport !== wanted.port
  })
}

function endpointIndex(endpoints: ReadonlySet<string>): Map<string, [number, number][]> {
  const index = new Map<string, [number, number][]>()
  for (const line of endpoints) {
    const [family, proto, address, ports = ''] = line.split(' ')
    const [lo = 0, hi = 0] = ports.split('-').map(Number)
    const key = `${family} ${proto} ${address}`
    index.set(key, [...(index.get(key) ?? []), [lo, hi]])
  }
  return index
}

function targetOf(
  { proto, source, destination, dport }: Flow,
  dispatch: Dispatch,
): { address: Range; port: number } | undefined {
  const at = dispatch.addresses.find(({ address }) => address.lo === destination.lo)
  const granted = at ? [...at.special, ...(at.common ? dispatch.common : [])] : []
  const forward = granted.find((one) => matches(one, proto, dport, source))
  if (!forward) return undefined
  const { inner, ports, innerPort = dport, single } = forward
  return { address: inner, port: single || !ports ? innerPort : innerPort + dport - ports[0] }
}

function matches(
  { proto, ports, source, full }: Forward,
  asked: string,
  dport: number,
  client: Range,
): boolean {
  const isPort = full || (proto === asked && ports !== undefined && ports[0] <= dport && dport <= ports[1])
  return isPort && (source.ranges === 'any' || source.ranges.some((range) => overlap(range, client)))
}
