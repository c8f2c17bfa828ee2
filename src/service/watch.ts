/**
 * Hints that something changed. Never more than hints: inotify on /etc/pve does not see what other nodes write, and a
 * polling watcher misses saves, so the service reads everything again by itself at each interval.
 */
import { watch } from 'chokidar'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LEARNT_FOLDERS } from '../node/learnt.ts'
import type { Paths } from '../node/look.ts'

export interface Watch {
  close(): Promise<void>
}

/** Calls `hint` for each event at the files that matter. Errors of the watcher are no errors of the service. */
export function watchFiles({ pveDir, node, config }: Paths, hint: () => void): Watch {
  const own = join(pveDir, 'nodes', node)
  const files = [
    join(pveDir, 'firewall'),
    join(pveDir, 'pvenat.conf'),
    own,
    join(pveDir, 'sdn'),
    LEARNT_FOLDERS.leases,
    config,
  ]
  const watcher = watch(files, {
    ignoreInitial: true,
    usePolling: false,
    depth: 1,
    ignored: (path) => /\.tmp\.\d+$|\/\.fuse_hidden/.test(path),
  })
  watcher.on('all', hint).on('error', hint)
  const versions = watchVersions(pveDir, hint)
  return {
    close: async () => {
      clearInterval(versions)
      await watcher.close()
    },
  }
}

const VERSIONS_MS = 1000

/**
 * pmxcfs tells by these two that a guest's config was written or moved, or cluster.fw saved, on whichever node. Both are made
 * up in memory, so to read them costs next to nothing.
 */
function watchVersions(pveDir: string, hint: () => void): NodeJS.Timeout {
  let before: string | undefined
  return setInterval(() => {
    const read = (name: string): Promise<string> => readFile(join(pveDir, name), 'utf8').catch(() => '')
    void Promise.all([read('.version'), read('.vmlist')]).then(([version, list]) => {
      const now = `${version}\n${list}`
      if (before !== undefined && before !== now) hint()
      before = now
    })
  }, VERSIONS_MS)
}
