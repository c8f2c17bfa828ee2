/** Whether explain, list and a real packet agree about one question. */
import { contains, parseCidr, parseIp, type Range } from '../../src/address.ts'
import { endpoint } from '../../src/explain/packet.ts'
import type { Explanation } from '../../src/explain/step.ts'
import type { Row } from '../../src/show/list.ts'
import type { Answer, Proto, Reply } from '../lab/index.ts'
import type { Listed } from './explainer.ts'

export interface Asked {
  /** Host of the lab, and the address that it calls from. */
  from: string
  source: string
  proto: Proto
  to: string
  port: number
}

/** The node's external addresses, and the guest that has an address. */
export interface Places {
  external: readonly string[]
  guests: ReadonlyMap<string, string>
}

export const isV6 = (address: string): boolean => address.includes(':')
export const at = (address: string, port: number): string => endpoint(parseIp(address) as Range, port)

/** The first thing that one of the three says against the others; '' when they agree. */
export function disagreement(
  asked: Asked,
  answer: Answer,
  explanation: Explanation,
  listed: Listed,
  places: Places,
): string {
  const text = explanation.steps.map(({ sentence }) => sentence).join('\n')
  // Guests of the lab have one NIC without a VLAN, and all of them run; those of some cases do not.
  if (/does not run: there is no |is a template| in VLAN \d/.test(text)) return ''
  const reached = typeof answer === 'string' ? undefined : answer
  return ofExplain(asked, reached, explanation.gets, text, places) || ofList(asked, reached, listed, places)
}

/** Rows that are shown as in force and ask for nothing. */
export function idleRows(rows: readonly Row[]): string[] {
  return rows
    .filter((row) => isInForce(row) && row.family.length === 0)
    .map(({ state, comment }) => `list says that ${comment} is ${state}, and it has no rule`)
}

function ofExplain(
  { source, to }: Asked,
  reached: Reply | undefined,
  gets: Explanation['gets'],
  text: string,
  { external, guests }: Places,
): string {
  const [sent, inner = ''] = /sends it to (\S+)\.(?:\s|$)/.exec(text) ?? []
  // An address of a config that nobody in the lab has: explain says that nothing answers there.
  const isNobody = sent !== undefined && ![...guests.keys()].some((one) => inner === at(one, portOf(inner)))
  // To it the internet knows no way back.
  const isExempt = !reached && text.includes('that is what the exemption asks for')
  if (!isNobody && !isExempt && gets !== (reached ? 'through' : 'stopped')) return `explain says ${gets}`
  if (!reached) return ''
  if (external.includes(to) && !addressesOf(reached, guests).some((one) => inner === at(one, reached.port)))
    return `explain sends it to ${inner}`
  // A guest that calls itself goes round, with another source on its way.
  const seen = [...text.matchAll(/seen as ([^,]+)/g)].at(-1)?.[1] ?? source
  return seen.includes(reached.seenAs) ? '' : `explain says that it is seen as ${seen}`
}

function ofList(
  asked: Asked,
  reached: Reply | undefined,
  { rows, elsewhere }: Listed,
  { external, guests }: Places,
): string {
  const { from, proto, to, port } = asked
  if (!external.includes(to)) return ofListOut(asked, reached, rows, external)
  const claims = rows.filter((row) => isClaim(row, asked))
  const isAnswered = (row: Row): boolean => reached !== undefined && leadsTo(row, reached, guests)
  if (reached && !claims.some(isAnswered)) return 'list knows no forward of it that is in force'
  // IKE alone is asked for a source port, and beside full=1 a new forward of another guest may have nothing.
  if (from !== 'inet' || (proto === 'udp' && port === 500)) return ''
  const sure = claims.filter(
    ({ state, source, inner }) =>
      state === 'active' &&
      source === '' &&
      (claims.length === 1 || claims.every((one) => one.external.ports !== null)) &&
      inner.address?.split(', ').every((one) => isV6(one) !== isV6(to) || guests.has(one)),
  )
  for (const row of sure) {
    const isElsewhere = elsewhere.includes(`${row.file}:${row.line} ${isV6(to) ? 6 : 4}`)
    if (isElsewhere === isAnswered(row))
      return isElsewhere
        ? `check says that the guest of ${row.comment} answers past this node`
        : `list says that ${row.comment} is active`
  }
  return ''
}

/** What leaves translated is let out by a rule that list shows in force: an OUT rule, or full=1 of the same guest. */
function ofListOut(
  asked: Asked,
  reached: Reply | undefined,
  rows: readonly Row[],
  external: Places['external'],
): string {
  if (!reached || !external.includes(reached.seenAs)) return ''
  const isOfSender = ({ guest, source }: Row): boolean =>
    guest === null ? source === '' || mayCall(source, asked.source) : String(guest.vmid) === asked.from
  const letsOut = (row: Row): boolean =>
    isInForce(row) &&
    row.family.includes(isV6(asked.source) ? 6 : 4) &&
    (row.proto.includes('all') || (row.kind === 'egress' && row.proto.includes(asked.proto)))
  const isNamed = ({ external: { addresses } }: Row): boolean =>
    addresses === 'any' || addresses.includes(reached.seenAs)
  // By an uplink that does not carry the address of full=1 its guest leaves as that uplink's.
  const isFull = ({ inner }: Row): boolean => inner.address?.split(', ').includes(asked.source) === true
  return rows.some(
    (row) => letsOut(row) && (row.kind === 'egress' ? isNamed(row) && isOfSender(row) : isFull(row)),
  )
    ? ''
    : `list knows no rule in force that lets it out as ${reached.seenAs}`
}

function addressesOf({ server }: Reply, guests: Places['guests']): string[] {
  return [...guests].filter(([, name]) => name === server).map(([one]) => one)
}

function portOf(place: string): number {
  return Number(/:(\d+)$/.exec(place)?.[1])
}

function isInForce({ state }: Row): boolean {
  return state === 'active' || state === 'partial'
}

function hasPort(ports: Row['inner']['ports'], port: number): boolean {
  return ports === null || ports.some(([lo, hi]) => lo <= port && port <= hi)
}

/** A forward that is in force, at least for some of its ports, and that asks for this packet. */
function isClaim(row: Row, { source, proto, to, port }: Asked): boolean {
  const { addresses, ports } = row.external
  return (
    row.kind === 'forward' &&
    isInForce(row) &&
    row.family.includes(isV6(to) ? 6 : 4) &&
    (row.proto.includes('all') || row.proto.includes(proto)) &&
    (addresses === 'any' || addresses.includes(to)) &&
    hasPort(ports, port) &&
    mayCall(row.source, source)
  )
}

/** Whether the source as it was typed lets a client in; true where it names aliases, sets or ranges. */
function mayCall(typed: string, client: string): boolean {
  const networks = typed.split(',').map((one) => parseIp(one) ?? parseCidr(one))
  const address = parseIp(client) as Range
  return networks.some((one) => one === undefined || contains(one, address))
}

function leadsTo({ inner: { address, ports } }: Row, reached: Reply, guests: Places['guests']): boolean {
  const own = addressesOf(reached, guests)
  return hasPort(ports, reached.port) && (address?.split(', ').some((one) => own.includes(one)) ?? false)
}
