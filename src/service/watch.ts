/**
 * Hints that something changed. Never more than hints: inotify on /etc/pve does not see what other nodes write, and a
 * polling watcher misses saves, so the service reads everything again by itself at each interval.
 */
import { watch } from 'chokidar'
import { readFileSync, watch as watchOne, type FSWatcher } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LEARNT_FOLDERS } from '../node/learnt.ts'
import type { Paths } from '../node/look.ts'

export interface Watch {
  close(): Promise<void>
}

/** Half a save: of the GUI, and of pmxcfs. */
const PASSING = /\.tmp\.\d+$|\.fuse_hidden/

/** Calls `hint` for each event at the files that matter. Errors of the watcher are no errors of the service. */
export function watchFiles({ pveDir, node, config }: Paths, hint: () => void): Watch {
  const settings = [join(pveDir, 'pvenat.conf'), config]
  // By their folders: chokidar does not see one appear that it was told to watch.
  const few = watch([LEARNT_FOLDERS.leases, ...settings.map(dirname)], {
    ignoreInitial: true,
    depth: 0,
    ignored: (path, stats) => stats?.isFile() === true && !/\.leases$/.test(path) && !settings.includes(path),
  })
  few.on('all', hint).on('error', hint)
  const own = ['', 'qemu-server', 'lxc'].map((folder) => join('nodes', node, folder))
  const many = ['firewall', 'sdn', ...own].map((folder) => watchFolder(join(pveDir, folder), hint))
  const versions = watchVersions(pveDir, hint)
  return {
    async close() {
      clearInterval(versions)
      for (const folder of many) folder.close()
      await few.close()
    },
  }
}

const RENEW_MS = 5000

/**
 * The events of one folder, as the kernel tells them: a hint is all that is wanted, and chokidar looks at each of thousands of
 * files for it. A folder that is not there yet, or in whose place there is another one (a mount), is watched when it is seen.
 */
function watchFolder(path: string, hint: () => void): { close: () => void } {
  let watcher: FSWatcher | undefined
  let watched = ''
  const lose = (): void => void (watched = '')
  const renew = async (isFirst: boolean): Promise<void> => {
    const found = await stat(path).then(
      ({ dev, ino }) => `${dev} ${ino}`,
      () => '',
    )
    if (found === watched || isClosed) return
    watcher?.close()
    watcher = found === '' ? undefined : open()
    watched = watcher ? found : ''
    // What was saved since it appeared nobody told.
    if (watcher && !isFirst) hint()
  }
  const open = (): FSWatcher | undefined => {
    try {
      const opened = watchOne(path, (event, name) => {
        // The folder itself has gone; one that takes its place may have its very number.
        if (event === 'rename' && name === basename(path)) lose()
        if (name === null || !PASSING.test(name)) hint()
      })
      return opened.on('error', lose)
    } catch {
      return undefined // gone again, or the kernel has no more watches
    }
  }
  let isClosed = false
  void renew(true)
  const timer = setInterval(() => void renew(false), RENEW_MS)
  return {
    close() {
      isClosed = true
      clearInterval(timer)
      watcher?.close()
    },
  }
}

const VERSIONS_MS = 1000

/**
 * pmxcfs tells by these two that a guest's config was written or moved, or cluster.fw saved, on whichever node. Both are made
 * up in memory: to read them at once costs less than to wait for them.
 */
function watchVersions(pveDir: string, hint: () => void): NodeJS.Timeout {
  const read = (): string => ['.version', '.vmlist'].map((name) => readText(join(pveDir, name))).join('\n')
  let before: string | undefined
  return setInterval(() => {
    const now = read()
    if (before !== undefined && before !== now) hint()
    before = now
  }, VERSIONS_MS)
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
