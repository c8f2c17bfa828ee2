/** How long pve-firewall's lock is held: for that time its own cycle waits. */
import { fileURLToPath } from 'node:url'
import type { Lab } from '../lab/index.ts'

const observer = fileURLToPath(new URL('locks.pl', import.meta.url))
const PVEFW_LOCK = '/run/lock/pvefw.lck'

/** What `work` gives, and each hold of the lock meanwhile in milliseconds; those below half a millisecond may be missed. */
export async function watchLock<T>(
  lab: Lab,
  node: string,
  work: () => Promise<T>,
): Promise<{ result: T; holdsMs: number[] }> {
  const watcher = lab.spawn(node, ['perl', observer, PVEFW_LOCK])
  await watcher.says(/ready/)
  try {
    const result = await work()
    await watcher.stop()
    const lines = watcher.stdout.trim().split('\n').slice(1)
    return { result, holdsMs: lines.map(Number) }
  } finally {
    await watcher.stop('SIGKILL')
  }
}
