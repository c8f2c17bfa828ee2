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

/** Half a save: of the GUI, and of pmxcfs. */
const PASSING = /\.tmp\.\d+$|\.fuse_hidden/

/** Calls `hint` for each event at the files that matter. Errors of the watcher are no errors of the service. */
export function watchFiles({ pveDir, node, config }: Paths, hint: () => void): Watch {
  const single = [join(pveDir, 'pvenat.conf'), config]
  const folders = ['firewall', join('nodes', node), 'sdn'].map((folder) => join(pveDir, folder))
  const watcher = watch([...folders, LEARNT_FOLDERS.leases, ...single], {
    ignoreInitial: true,
    usePolling: false,
    depth: 1,
    // A folder tells of the files in it: thousands of watches, one a file, would tell the same.
    ignored: (path, stats) => PASSING.test(path) || (stats?.isFile() === true && !single.includes(path)),
  })
  watcher.on('all', hint).on('error', hint)
  watcher.on('raw', (_event, name) => {
    if (!PASSING.test(name)) hint()
  })
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
