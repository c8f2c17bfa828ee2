/**
 * Hints that something changed. Never more than hints: inotify on /etc/pve does not see what other nodes write, and a
 * polling watcher misses saves, so the service reads everything again by itself at each interval.
 */
import { watch } from 'chokidar'
import { join } from 'node:path'
import { LEARNT_FOLDERS } from '../node/learnt.ts'
import type { Paths } from '../node/look.ts'

export interface Watch {
  close(): Promise<void>
}

/** Calls `hint` for each event at the files that matter. Errors of the watcher are no errors of the service. */
export function watchFiles({ pveDir, node, config }: Paths, hint: () => void): Watch {
  const own = join(pveDir, 'nodes', node)
  const watcher = watch([join(pveDir, 'firewall'), own, join(pveDir, 'sdn'), LEARNT_FOLDERS.leases, config], {
    ignoreInitial: true,
    usePolling: false,
    depth: 1,
    ignored: (path) => /\.tmp\.\d+$|\/\.fuse_hidden/.test(path),
  })
  watcher.on('all', hint).on('error', hint)
  return { close: () => watcher.close() }
}
