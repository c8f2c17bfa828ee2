/** Who is connected by a NAT rule now, as conntrack has it. */
import { contains, formatRange, parseIp, type Family, type Range } from '../address.ts'
import type { Egress, Forward, Match, NatRule } from '../nat/nat-rule.ts'
import type { PortRange } from '../ports.ts'
import { run } from './exec.ts'

/** A connection: the address that the client called, and the address that answers. Ports are 0 where the protocol has none. */
export interface Client {
  proto: string
  source: Range
  destination: Range
  replySource: Range
  sport: number
  dport: number
  /** `ESTABLISHED`; '' of protocols without states. */
  state: string
}

/** Addresses of one rule that conntrack is asked for. */
const MAX_QUESTIONS = 8
const TIMEOUT_MS = 3000
/** A TCP connection that has ended stays in the table for a while. */
const ENDED = ['TIME_WAIT', 'CLOSE', 'LAST_ACK']

/** All connections by the rule but those that have ended. */
export async function clientsOf({ forwards, egresses }: NatRule): Promise<Client[]> {
  const questions = [
    ...forwards.map(({ family, proto, inner }) => question(family, proto, '-r', inner, '-g')),
    ...egresses.flatMap(({ family, proto, source: { ranges }, exempt }) =>
      (ranges === 'any' ? [undefined] : ranges).map((range) =>
        question(family, proto, '-s', range, exempt ? undefined : '-n'),
      ),
    ),
  ]
  const distinct = [...new Map(questions.map((words) => [words.join(' '), words])).values()]
  const answers = await Promise.all(
    distinct.slice(0, MAX_QUESTIONS).map((words) => run('conntrack', words, '', { timeoutMs: TIMEOUT_MS })),
  )
  const lines = new Set(answers.flatMap(({ stdout }) => stdout.split('\n')))
  return [...lines]
    .flatMap((line) => parseClient(line))
    .filter((one) => !ENDED.includes(one.state) && (forwards.some(isIn(one)) || egresses.some(isOut(one))))
}

/** A line of `conntrack -L`: the first value of a name belongs to the question, the last to the answer. */
function parseClient(line: string): Client[] {
  const [proto = ''] = line.split(' ', 1)
  const values = (name: string): string[] =>
    [...line.matchAll(new RegExp(` ${name}=(\\S+)`, 'g'))].map(([, value = '']) => value)
  const [source, replySource] = values('src').map(parseIp)
  const destination = parseIp(values('dst')[0] ?? '')
  // Firewall bridges have a zone of their own, in which the same connection stands once more.
  if (!source || !destination || !replySource || line.includes(' zone')) return []
  const [sport = 0, dport = 0] = ['sport', 'dport'].map((name) => Number(values(name)[0] ?? 0))
  const state = / ([A-Z_]+) src=/.exec(line)?.[1] ?? ''
  return [{ proto, source, destination, replySource, sport, dport, state }]
}

/** `way`: -r for the address that answers, -s for the client; `kind`: -g or -n for translated flows only. */
function question(
  family: Family,
  proto: string | undefined,
  way: string,
  range: Range | undefined,
  kind: string | undefined,
): string[] {
  const single = range && range.lo === range.hi ? [way, formatRange(range)] : []
  const protocol = proto === undefined || proto === 'all' ? [] : ['-p', proto]
  return ['-L', '-f', `ipv${family}`, ...protocol, ...(kind ? [kind] : []), ...single]
}

const isIn =
  (flow: Client) =>
  ({ proto, ports, inner, external }: Forward): boolean =>
    contains(inner, flow.replySource) &&
    external.some((one) => contains(one, flow.destination)) &&
    carries(flow, proto, ports)

const isOut =
  (flow: Client) =>
  ({ proto, ports, source, destination }: Egress): boolean =>
    among(flow.source, source) && among(flow.destination, destination) && carries(flow, proto, ports)

const among = (address: Range, { ranges }: Match): boolean =>
  ranges === 'any' || ranges.some((one) => contains(one, address))

const carries = (flow: Client, proto = 'all', ports?: PortRange): boolean =>
  (proto === 'all' || proto === flow.proto) && (!ports || (ports[0] <= flow.dport && flow.dport <= ports[1]))
