/** Ends flows that conntrack would keep on an old way; which ones they are is nat/flows.ts. */
import { FAMILIES, formatRange, parseCidr, type Family } from '../address.ts'
import type { Dispatch } from '../nat/claims.ts'
import { parseFlows, staleFlows, type Flow } from '../nat/flows.ts'
import { LOOP_NETWORKS } from '../ruleset/loop.ts'
import { run } from './exec.ts'

/** How many are ended side by side. */
const BATCH = 16

/**
 * Ends stale UDP flows, and with `alsoTcp` TCP connections of forwards that are gone. `endpoints` are all that are or were
 * ours. Returns how many; what conntrack does not do is said to `warn` and harms nothing else.
 */
export async function endStaleFlows(
  dispatch: Record<Family, Dispatch>,
  endpoints: ReadonlySet<string>,
  alsoTcp: boolean,
  warn: (message: string) => void,
): Promise<number> {
  const stale: Flow[] = []
  for (const family of FAMILIES) {
    for (const proto of alsoTcp ? ['udp', 'tcp'] : ['udp']) {
      if (![...endpoints].some((line) => line.startsWith(`${family} ${proto} `))) continue
      const { code, stdout, stderr } = await run('conntrack', ['-L', '-f', `ipv${family}`, '-p', proto])
      if (code !== 0) warn(`cannot list ${proto} flows: ${stderr.trim()}`)
      const loop = parseCidr(LOOP_NETWORKS[family].targets)
      stale.push(...staleFlows(parseFlows(stdout), dispatch, endpoints, loop ? [loop] : []))
    }
  }
  for (let i = 0; i < stale.length; i += BATCH) await Promise.all(stale.slice(i, i + BATCH).map(end))
  return stale.length
}

/** A flow that is gone by now makes conntrack fail, and is just as well. */
async function end({ proto, source, destination, sport, dport }: Flow): Promise<void> {
  const tuple = ['--orig-src', formatRange(source), '--orig-dst', formatRange(destination)]
  const ports = ['--orig-port-src', String(sport), '--orig-port-dst', String(dport)]
  await run('conntrack', ['-D', '-f', `ipv${source.family}`, '-p', proto, ...tuple, ...ports])
}
