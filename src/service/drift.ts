/** Notices that somebody changed what is ours in the kernel: by events where the kernel tells them, and by glances. */
import type { Backend } from '../node/backend.ts'
import { monitorNft, type Monitor } from '../node/monitor.ts'

const GLANCE_MS = 1000
/** Glances may take no more than this part of the time, however many rules there are. */
const MAX_SHARE = 0.1

/**
 * Calls `hint` when what is in force is not what was put there. The legacy backend has no events at all (its lock file shows
 * writers only to programs that may ask the kernel for opens of a file), so it lives by the glances.
 */
export function watchKernel(backend: Backend, isDrifted: () => Promise<boolean>, hint: () => void): Monitor {
  const monitor = backend === 'nft' ? monitorNft(hint) : undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const glance = async (): Promise<void> => {
    const start = performance.now()
    if (await isDrifted().catch(() => false)) hint()
    const tookMs = performance.now() - start
    if (!closed) timer = setTimeout(() => void glance(), Math.max(GLANCE_MS - tookMs, tookMs / MAX_SHARE))
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
