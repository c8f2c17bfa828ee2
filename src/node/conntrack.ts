/** Ends flows that conntrack would keep on an old way; which ones they are is nat/flows.ts. */
import { FAMILIES, parseCidr, type Family } from '../address.ts'
import { parseFlows, staleFlows, type Flow } from '../nat/flows.ts'
import type { Dispatch } from '../nat/model.ts'
import { LOOP_NETWORKS } from '../ruleset/loop.ts'
import type { Kernel } from './kernel.ts'

/** How many are ended side by side. */
const BATCH = 16

/**
 * Ends stale UDP flows, and with `alsoTcp` TCP connections of forwards that are gone or lead elsewhere. `endpoints` are all that
 * are or were ours. Returns how many; throws when conntrack does not tell.
 */
export async function endStaleFlows(
  kernel: Kernel,
  dispatch: Record<Family, Dispatch>,
  endpoints: ReadonlySet<string>,
  alsoTcp: boolean,
): Promise<number> {
  const stale: Flow[] = []
  for (const family of FAMILIES) {
    for (const proto of alsoTcp ? ['udp', 'tcp'] : ['udp']) {
      if (![...endpoints].some((line) => line.startsWith(`${family} ${proto} `))) continue
      const flows = parseFlows(await kernel.flows(family, proto))
      const loop = parseCidr(LOOP_NETWORKS[family].targets)
      stale.push(...staleFlows(flows, dispatch, endpoints, loop ? [loop] : []))
    }
  }
  for (let i = 0; i < stale.length; i += BATCH)
    await Promise.all(stale.slice(i, i + BATCH).map((flow) => kernel.endFlow(flow)))
  return stale.length
}
