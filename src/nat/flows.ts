/**
 * Stale flows: entries of conntrack that lead to a former target, or are untranslated. A client that keeps sending UDP keeps its entry for
 * ever, and so does a tunnel (GRE, ESP). Stale entries must go, right entries must stay. TCP connections end by themselves.
 */
import {
  addressKey,
  contains,
  FAMILIES,
  formatRange,
  mappedInto,
  overlap,
  parseCidr,
  parseIp,
  sameRange,
  toNetworks,
  type Family,
  type Range,
} from '../address.ts'
import { append, ascending } from '../lists.ts'
import { ALL_PORTS, mergePorts, type PortRange } from '../ports.ts'
import type { Dispatch, Forward } from './nat-rule.ts'
import { innerPortOf } from './pieces.ts'
import { holds } from './sources.ts'
import { protocolName, WITHOUT_PORTS } from './template.ts'

/** One line of `conntrack -L`: the client's first packet, and the source of the answers. Ports are 0 where the protocol has none. */
export interface Flow {
  proto: string
  source: Range
  destination: Range
  sport: number
  dport: number
  replySource: Range
  replySport: number
}

/**
 * The flows to addresses of `isOurs` among lines of `conntrack -L`. Only those of zone 0: translation happens there alone. The firewall
 * bridges have a zone of their own (ruleset/chains.ts), in which the same packet has a second entry, rightly untranslated.
 */
export function parseFlows(lines: readonly string[], isOurs: (address: Range) => boolean): Flow[] {
  return lines.flatMap((line) => {
    const [word = '', ...words] = line.split(' ')
    const first = new Map<string, string>()
    const last = new Map<string, string>()
    for (const word of words) {
      const equals = word.indexOf('=')
      const [key, value] = [word.slice(0, equals), word.slice(equals + 1)]
      if (key.startsWith('zone')) return []
      if (!first.has(key)) first.set(key, value)
      last.set(key, value)
    }
    const [source, destination, replySource] = [first.get('src'), first.get('dst'), last.get('src')].map(
      (text) => parseIp(text ?? ''),
    )
    if (!source || !destination || !replySource || !isOurs(destination)) return []
    const proto = word === 'unknown' ? protocolName(words.find((one) => one !== '') ?? '') : word
    const [sport, dport, replySport] = [first.get('sport'), first.get('dport'), last.get('sport')].map(
      (text) => Number(text ?? 0),
    )
    return [{ proto, source, destination, replySource, sport, dport, replySport } as Flow]
  })
}

const NO_PORTS: PortRange = [0, 0]
/** Protocols of which stale flows are ended, each with its ports in an endpoint of full=1. */
const FULL: readonly (readonly [proto: string, ports: PortRange])[] = [
  ...['udp', 'tcp'].map((proto) => [proto, ALL_PORTS] as const),
  ...[...WITHOUT_PORTS].map((proto) => [proto, NO_PORTS] as const),
]

/** Lines `FAMILY PROTOCOL ADDRESS LO-HI`, one for each external endpoint of ours, for the state to remember. */
export function endpointLines(dispatch: Record<Family, Dispatch>): string[] {
  const lines = FAMILIES.flatMap((family) =>
    dispatch[family].addresses.flatMap(({ address, special, common }) =>
      [...special, ...(common ? dispatch[family].common : [])].flatMap(({ proto, ports = NO_PORTS, full }) =>
        (full ? FULL : ([[proto, ports]] as const)).map(
          ([name, [lo, hi]]) => `${family} ${name} ${formatRange(address)} ${lo}-${hi}`,
        ),
      ),
    ),
  )
  return [...new Set(lines)]
}

/** Endpoints by `FAMILY PROTOCOL ADDRESS`: port ranges in order that neither meet nor overlap. */
type Endpoints = ReadonlyMap<string, readonly PortRange[]>

export function readEndpoints(lines: Iterable<string>): Endpoints {
  const found = new Map<string, PortRange[]>()
  for (const line of lines) {
    const [family, proto, address, ports = ''] = line.split(' ')
    const [lo = 0, hi = 0] = ports.split('-').map(Number)
    append(found, `${family} ${proto} ${address}`, [lo, hi])
  }
  return new Map([...found].map(([key, ranges]) => [key, mergePorts(ranges)]))
}

function isAmong(ranges: readonly PortRange[], port: number): boolean {
  let [from, to] = [0, ranges.length]
  while (from < to) {
    const middle = (from + to) >> 1
    const [lo, hi] = ranges[middle] as PortRange
    if (port < lo) to = middle
    else if (port > hi) from = middle + 1
    else return true
  }
  return false
}

/** Tells the addresses of the endpoints of a family and protocol; undefined when there are none. */
export function endpointAddresses(
  endpoints: Endpoints,
  family: Family,
  proto: string,
): ((address: Range) => boolean) | undefined {
  const prefix = `${family} ${proto} `
  const keys = [...endpoints.keys()].filter((key) => key.startsWith(prefix))
  const texts = new Set(keys.map((key) => key.slice(prefix.length)))
  if (texts.size === 0) return undefined
  const networks = [...texts].filter((text) => text.includes('/')).flatMap((text) => parseCidr(text) ?? [])
  return (address) =>
    texts.has(formatRange(address)) || networks.some((network) => contains(network, address))
}

/** The parts of the ruleset that decide whether a flow is stale. */
export interface Ways {
  dispatch: Record<Family, Dispatch>
  /** Networks from which forwards without hairpin are not reached. */
  inside: readonly Range[]
  /** Whether no forward is reached from inside. */
  noHairpin: boolean
  /** Addresses by which a guest reaches itself. */
  loop: readonly Range[]
}

type Place = Dispatch['addresses'][number]

/** Whether a flow is stale: its destination is or was an endpoint of ours, and its answers come from another address than they should. */
export function staleness(ways: Ways, endpoints: Endpoints): (flow: Flow) => boolean {
  const { dispatch, loop, inside, noHairpin } = ways
  const tables = new Map<string, (readonly Forward[])[]>()
  const singles = new Map(
    FAMILIES.flatMap((family) => dispatch[family].addresses)
      .filter(({ address }) => address.lo === address.hi)
      .map((place) => [addressKey(place.address), place]),
  )
  const networks = [...endpoints.keys()].flatMap((key) => {
    const [, proto, text = ''] = key.split(' ')
    const network = text.includes('/') ? parseCidr(text) : undefined
    return network ? [{ proto, network }] : []
  })
  /** The forwards at a single address: for each 256 ports those that may match, of full=1 the last. */
  const tableOf = ({ proto, destination }: Flow, place: Place, at: string): (readonly Forward[])[] => {
    const known = tables.get(at)
    if (known) return known
    const all = [...place.special, ...(place.common ? dispatch[destination.family].common : [])]
    const table = Array.from({ length: 256 }, (): Forward[] => [])
    for (const forward of all) {
      if (forward.proto !== proto) continue
      const [lo, hi] = forward.ports ?? NO_PORTS
      for (let part = lo >> 8; part <= hi >> 8; part++) table[part]?.push(forward)
    }
    for (const forward of all) if (forward.full) for (const part of table) part.push(forward)
    tables.set(at, table)
    return table
  }
  /** At another address of a network that is mapped as a whole. There may be flows to very many of them. */
  const mapsOf = ({ destination }: Flow): Forward[] =>
    dispatch[destination.family].addresses
      .filter(({ address }) => contains(address, destination))
      .flatMap(({ special }) => special)
  return (flow) => {
    const { proto, source, destination, dport, replySource, replySport } = flow
    const at = `${destination.family} ${proto} ${formatRange(destination)}`
    const isMapped = networks.some((one) => one.proto === proto && contains(one.network, destination))
    if (!isMapped && !isAmong(endpoints.get(at) ?? [], dport)) return false
    if (loop.some((range) => overlap(range, replySource))) return false
    const answers = (address: Range, port: number): boolean =>
      replySource.lo === address.lo && replySport === port
    const place = singles.get(addressKey(destination))
    const forwards = place ? (tableOf(flow, place, at)[dport >> 8] ?? []) : mapsOf(flow)
    const forward = forwards.find((one) => isFor(one, flow))
    const isUntranslated = answers(destination, dport)
    if (!forward || isKept(forward, flow)) return !isUntranslated
    const isInside = [...inside, destination].some((range) => overlap(range, source))
    if ((noHairpin || !forward.hairpin) && isInside && isUntranslated) return false
    return !answers(mappedInto(forward.inner, destination), innerPortOf(forward, dport))
  }
}

function isFor({ ports, source, sport }: Pick<Forward, 'ports' | 'source' | 'sport'>, flow: Flow): boolean {
  return holds(source, flow.source) && isIn(ports, flow.dport) && isIn(sport, flow.sport)
}

/** Whether a port is one of these; no range means all ports. */
export function isIn(ports: PortRange | undefined, port: number): boolean {
  return !ports || (ports[0] <= port && port <= ports[1])
}

/** Whether full=1 leaves the flow to the node. */
function isKept({ except }: Forward, flow: Flow): boolean {
  return except.some(
    ({ at, proto, ...one }) =>
      (!at || sameRange(at, flow.destination)) &&
      (proto === flow.proto || proto === 'all') &&
      isFor(one, flow),
  )
}

/** Arguments of `conntrack -D`: it deletes every flow of zone 0 that matches all of them. */
export interface FlowFilter {
  proto: string
  destination: Range
  replySource: Range
  dport?: number
  replySport?: number
  source?: Range
  sport?: number
}

/**
 * The fewest deletions that end all stale flows and no right flow, because conntrack reads its whole table for each deletion. Flows are deleted
 * by address and answering address when all such flows are stale, else by ports, by networks of clients, or one by one.
 */
export function deletions(stale: readonly Flow[], right: readonly Flow[]): FlowFilter[] {
  return split(stale, right, byAnswer).flatMap(([wide, all, kept]) =>
    kept.length === 0
      ? [wide]
      : split(all, kept, byPorts).flatMap(([narrow, some, others]) =>
          others.length === 0 ? [narrow] : byClients(narrow, some, others),
        ),
  )
}

const byAnswer = ({ proto, destination, replySource }: Flow): FlowFilter => ({
  proto,
  destination,
  replySource,
})
const byPorts = (flow: Flow): FlowFilter => ({
  ...byAnswer(flow),
  dport: flow.dport,
  replySport: flow.replySport,
})

/** Each filter with the stale and the right flows that it lets go. */
function split(
  stale: readonly Flow[],
  right: readonly Flow[],
  filterOf: (flow: Flow) => FlowFilter,
): [FlowFilter, Flow[], Flow[]][] {
  const groups = new Map<string, [FlowFilter, Flow[], Flow[]]>()
  const keyOf = ({ proto, destination, replySource, dport, replySport }: FlowFilter): string =>
    [proto, destination.family, destination.lo, replySource.lo, dport, replySport].join(' ')
  for (const flow of stale) {
    const filter = filterOf(flow)
    const key = keyOf(filter)
    const group = groups.get(key) ?? [filter, [], []]
    groups.set(key, group)
    group[1].push(flow)
  }
  for (const flow of right) groups.get(keyOf(filterOf(flow)))?.[2].push(flow)
  return [...groups.values()]
}

/** By networks that hold clients of stale flows only. */
function byClients(filter: FlowFilter, stale: readonly Flow[], right: readonly Flow[]): FlowFilter[] {
  const kept = right.map(({ source }) => source.lo).sort(ascending)
  const sorted = [...stale].sort((a, b) => ascending(a.source.lo, b.source.lo))
  const runs: Flow[][] = []
  let next = 0
  let last = -1n
  for (const flow of sorted) {
    const { lo } = flow.source
    while (next < kept.length && (kept[next] as bigint) < lo) last = kept[next++] as bigint
    const run = runs.at(-1)
    if (run && last < (run[0] as Flow).source.lo && kept[next] !== lo) run.push(flow)
    else runs.push([flow])
  }
  return runs.flatMap((run) => {
    const [first, end] = [run[0] as Flow, run.at(-1) as Flow]
    const networks = toNetworks({ ...first.source, hi: end.source.hi })
    return networks.length < run.length
      ? networks.map((source) => ({ ...filter, source }))
      : run.map(({ source, sport }) => ({ ...filter, source, sport }))
  })
}
