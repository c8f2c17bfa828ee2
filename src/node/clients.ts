/** Who is connected by a NAT rule now, as conntrack has it. */
import { contains, formatRange, type Family, type Range } from '../address.ts'
import { isIn, parseFlows, type Flow } from '../nat/flows.ts'
import type { Egress, Forward, NatRule } from '../nat/nat-rule.ts'
import { holds } from '../nat/sources.ts'
import type { PortRange } from '../ports.ts'
import { run } from './exec.ts'

/** A connection. `state`: `ESTABLISHED`; '' of protocols without states. */
export type Client = Flow & { state: string }

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
    .filter((one) => !ENDED.includes(one.state) && (forwards.some(isBy(one)) || egresses.some(isOut(one))))
}

/** A line of `conntrack -L` as a connection, with its state. */
function parseClient(line: string): Client[] {
  const state = / ([A-Z_]+) src=/.exec(line)?.[1] ?? ''
  return parseFlows([line], () => true).map((flow) => ({ ...flow, state }))
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

const isBy =
  (flow: Client) =>
  ({ proto, ports, inner, external }: Forward): boolean =>
    contains(inner, flow.replySource) &&
    external.some((one) => contains(one, flow.destination)) &&
    carries(flow, proto, ports)

const isOut =
  (flow: Client) =>
  ({ proto, ports, source, destination }: Egress): boolean =>
    holds(source, flow.source) && holds(destination, flow.destination) && carries(flow, proto, ports)

const carries = (flow: Client, proto = 'all', ports?: PortRange): boolean =>
  (proto === 'all' || proto === flow.proto) && isIn(ports, flow.dport)
