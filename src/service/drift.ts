/** Notices that somebody changed what is ours in the kernel: by events where the kernel tells them, and by glances. */
import type { Backend } from '../node/backend.ts'
import type { Kernel } from '../node/kernel.ts'
import { monitorNft, type Monitor } from '../node/monitor.ts'
import type { InForce } from '../ruleset/inforce.ts'

const GLANCE_MS = 1000
/** A glance may cost no more than this part of one core, however many rules there are. */
const MAX_SHARE = 0.01

/**
 * Calls `hint` when chains, hooks, sets, forwarding or the loop are not as they were at the glance before. The legacy backend
 * has no events at all (its lock file shows writers only to programs that may ask the kernel for opens of a file).
 */
export function watchKernel(backend: Backend, kernel: Kernel, hint: () => void): Monitor {
  const monitor = backend === 'nft' ? monitorNft(hint) : undefined
  let before: string | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const glance = async (): Promise<void> => {
    const start = performance.now()
    const now = await fingerprint(kernel).catch(() => before)
    if (before !== undefined && now !== before) hint()
    before = now
    const pauseMs = Math.max(GLANCE_MS, (performance.now() - start) / MAX_SHARE)
    if (!closed) timer = setTimeout(() => void glance(), pauseMs)
  }
  timer = setTimeout(() => void glance(), GLANCE_MS)
  return {
    close() {
      closed = true
      clearTimeout(timer)
      monitor?.close()
    },
  }
}

async function fingerprint(kernel: Kernel): Promise<string> {
  const [inForce, hasLoop, ...forwarding] = await Promise.all([
    kernel.read(),
    kernel.hasLoop(),
    kernel.sysctl('net/ipv4/ip_forward'),
    kernel.sysctl('net/ipv6/conf/all/forwarding'),
  ])
  return JSON.stringify([hasLoop, forwarding, describe(inForce)])
}

/** Without counters. */
function describe({ chains, sets }: InForce): unknown {
  const families = [chains[4], chains[6]].map(({ own, hooks, drops }) => [
    [...own].map(([name, rules]) => [name, rules.map(({ hash }) => hash)]),
    [...hooks],
    drops,
  ])
  return [families, [...sets]]
}
