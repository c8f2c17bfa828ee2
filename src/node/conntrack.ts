/** Ends stale flows, many at a time and within a budget; which flows are stale is nat/flows.ts. */
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { FAMILIES, formatRange, parseCidr, type Range } from '../address.ts'
import { deletions, endpointAddresses, parseFlows, readEndpoints, staleness } from '../nat/flows.ts'
import type { Flow, FlowFilter, Ways } from '../nat/flows.ts'
import { protocolNumber, WITHOUT_PORTS } from '../nat/template.ts'
import { unanswered } from '../nat/unanswered.ts'
import { LOOP_NETWORKS } from '../ruleset/self-hairpin.ts'
import { must, run } from './exec.ts'

/** conntrack, as far as it is needed here. */
export interface Conntrack {
  /** The flows of a protocol, or those of them in a state of TCP, as `conntrack -L` prints them. */
  flows: (family: 4 | 6, proto: string, state?: 'SYN_SENT') => Promise<string>
  /** Ends all flows of zone 0 that a filter names; tells how many. */
  endFlows: (filter: FlowFilter) => Promise<number>
}

export const realConntrack: Conntrack = {
  flows: (family, proto, state) => {
    const inState = state ? ['--state', state] : []
    return must('conntrack', ['-L', '-f', `ipv${family}`, '-p', protocolNumber(proto), ...inState])
  },
  async endFlows({ proto, destination, replySource, dport, replySport, source, sport }) {
    const ask = (option: string, value: string | number | undefined): string[] =>
      value === undefined ? [] : [option, String(value)]
    const zone0 = ['-f', `ipv${destination.family}`, '-p', protocolNumber(proto), '-w', '0']
    const askPort = (option: string, port: number | undefined): string[] =>
      WITHOUT_PORTS.has(proto) ? [] : ask(option, port)
    const { stderr } = await run('conntrack', [
      '-D',
      ...zone0,
      ...ask('--orig-src', source && formatRange(source)),
      ...ask('--orig-dst', formatRange(destination)),
      ...ask('--reply-src', formatRange(replySource)),
      ...askPort('--sport', sport),
      ...askPort('--dport', dport),
      ...askPort('--reply-port-src', replySport),
    ])
    // That there is no such flow any more makes it fail.
    return Number(/(\d+) flow entries have been deleted/.exec(stderr)?.[1] ?? 0)
  },
}

/** Work that a pass leaves: flows to these endpoints may be stale. */
export interface FlowWork extends Omit<Ways, 'loop'> {
  /** Lines of `endpointLines`, endpoints of before included. */
  endpoints: readonly string[]
  /** TCP too: connections of forwards that are gone or lead elsewhere. */
  alsoTcp: boolean
  /** Sources of packets that are translated where they leave. */
  leaving: readonly Range[]
}

/** Lines that are read without giving others their turn: a few milliseconds. */
const LINES_AT_ONCE = 2000
/** After this long no further deletion begins; the next round goes on. */
const ROUND_MS = 2000

/** The lines of a text, a few at a time, with a turn for others in between. */
async function* slicesOf(text: string): AsyncGenerator<string[]> {
  const lines = text.split('\n')
  for (let at = 0; at < lines.length; at += LINES_AT_ONCE) {
    yield lines.slice(at, at + LINES_AT_ONCE)
    await turn()
  }
}

const LOOP = FAMILIES.flatMap((family) => parseCidr(LOOP_NETWORKS[family].targets) ?? [])

/** One round. Returns how many stale flows there were, and how many ended. Throws when conntrack does not answer. */
export async function endStaleFlows(
  { flows, endFlows }: Conntrack,
  { endpoints, alsoTcp, ...ways }: FlowWork,
): Promise<{ found: number; ended: number }> {
  const index = readEndpoints(endpoints)
  const isStale = staleness({ ...ways, loop: LOOP }, index)
  const until = performance.now() + ROUND_MS
  let [found, ended] = [0, 0]
  for (const family of FAMILIES) {
    for (const proto of ['udp', ...(alsoTcp ? ['tcp'] : []), ...WITHOUT_PORTS]) {
      const isOurs = endpointAddresses(index, family, proto)
      if (!isOurs) continue
      const [stale, right]: [Flow[], Flow[]] = [[], []]
      for await (const lines of slicesOf(await flows(family, proto)))
        for (const flow of parseFlows(lines, isOurs)) (isStale(flow) ? stale : right).push(flow)
      found += stale.length
      for (const filter of deletions(stale, right))
        if (performance.now() < until) ended += await endFlows(filter)
    }
  }
  return { found, ended }
}

/** Ends flows that wait untranslated; returns how many. Once is enough: new ones are translated. */
async function endUnanswered(
  { flows, endFlows }: Conntrack,
  { leaving, inside }: Pick<FlowWork, 'leaving' | 'inside'>,
): Promise<number> {
  const until = performance.now() + ROUND_MS
  let ended = 0
  for (const family of FAMILIES) {
    const sources = leaving.filter((one) => one.family === family)
    if (sources.length === 0) continue
    for (const text of [await flows(family, 'udp'), await flows(family, 'tcp', 'SYN_SENT')])
      for await (const lines of slicesOf(text))
        for (const flow of unanswered(lines, sources, inside))
          if (performance.now() < until) ended += await endFlows(flow)
  }
  return ended
}

/** Rounds without progress after which flows that come back, or cannot be ended, are left. */
const MAX_VAIN = 5
/** Least pause between rounds; else as long as the last round, so that conntrack takes half of a core at most. */
const PAUSE_MS = 500

/** Rounds until one finds nothing. `goesOn` is asked before each; returns how many flows ended. */
export async function endAllStaleFlows(
  conntrack: Conntrack,
  work: FlowWork,
  goesOn: () => boolean,
): Promise<number> {
  let [least, vain] = [Infinity, 0]
  let total = goesOn() ? await endUnanswered(conntrack, work) : 0
  while (goesOn()) {
    const start = performance.now()
    const { found, ended } = await endStaleFlows(conntrack, work)
    total += ended
    if (found === 0) break
    vain = found < least ? 0 : vain + 1
    least = Math.min(least, found)
    if (vain === MAX_VAIN) throw new Error(`conntrack does not end ${found} of them`)
    await delay(Math.max(PAUSE_MS, performance.now() - start))
  }
  return total
}
