/**
 * The reader: the only process that touches /etc/pve for the service, because a pmxcfs that hangs blocks each process that asks it. It tells
 * changes as lines of JSON on stdout, and looks at once when a line comes on stdin. It ends with the service.
 */
import { watch, type FSWatcher } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { makeDeadlines } from './deadlines.ts'
import { READER_LANES, Rounds, type FileChange, type PveChange } from './rounds.ts'
import { startStatThread } from './stat-thread.ts'

/** The internal command that starts it: `pvenat read-pve PVE-DIR NODE`. */
export const READER_COMMAND = 'read-pve'

/** A line of the reader: some changed files, the end of a round, or nothing but a sign of life. */
export interface Frame {
  files?: FileChange[]
  end?: Omit<PveChange, 'files'>
}

/** Signs of life; the service kills a reader that gives none for some seconds. */
const ALIVE_MS = 1000
/** Between an event and the round: long enough for the two steps of a save by rename. */
const SETTLE_MS = 20
const PAUSE_MS_PER_FILE = 2
const MIN_PAUSE_MS = 1000
export const MAX_PAUSE_MS = 5000

/** Between rounds without events, which find edits through other nodes: 2 ms a file, clamped to 1 s to 5 s. A file costs about 20 us. */
export function pauseMs(files: number): number {
  return Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, files * PAUSE_MS_PER_FILE))
}

/** Files of a frame, so that the service hears of progress. */
const FILES_PER_FRAME = 100
const WATCH_LATE_MS = 1000
/** Interval between checks that the watched folders are still there. */
const RENEW_MS = 5000

export async function runReader([pveDir = '', node = '']: readonly string[]): Promise<never> {
  const write = (frame: Frame): void => void process.stdout.write(`${JSON.stringify(frame)}\n`)
  let isHinted = true
  let wake = (): void => undefined
  const hint = (): void => {
    isHinted = true
    wake()
  }
  process.stdout.on('error', () => process.exit())
  process.stdin.on('data', hint).on('end', () => process.exit())
  setInterval(() => write({}), ALIVE_MS)
  const rounds = new Rounds(pveDir, node, hint, READER_LANES, startStatThread())
  const renewWatches = watchFolders(pveDir, node, hint)
  let renewedAt = -Infinity
  for (;;) {
    if (performance.now() - renewedAt > RENEW_MS) {
      await renewWatches()
      renewedAt = performance.now()
    }
    const wasHinted = isHinted
    isHinted = false
    const { files, ...end } = await rounds.next(wasHinted)
    for (let i = 0; i < files.length; i += FILES_PER_FRAME)
      write({ files: files.slice(i, i + FILES_PER_FRAME) })
    write({ end })
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, isHinted ? SETTLE_MS : pauseMs(rounds.asked))
      wake = () => {
        wake = () => undefined
        clearTimeout(timer)
        setTimeout(resolve, SETTLE_MS)
      }
    })
  }
}

/** Half a save: of the GUI, and of pmxcfs. */
const HALF_SAVE = /\.tmp\.\d+$|\.fuse_hidden/

/**
 * The kernel's events of the folders that matter, without chokidar, which stats each of thousands of files for an event, and
 * without a deadline. A folder that is new, or replaced by another one (a mount), is watched at the next `renew`.
 */
export function watchFolders(pveDir: string, node: string, hint: () => void): () => Promise<void> {
  const inTime = makeDeadlines(WATCH_LATE_MS, hint)
  const own = ['', 'qemu-server', 'lxc'].map((folder) => join('nodes', node, folder))
  const paths = ['', 'firewall', 'sdn', ...own].map((folder) => join(pveDir, folder))
  const watched = new Map<string, { id: string; watcher: FSWatcher | undefined }>()
  const renewOne = async (path: string): Promise<void> => {
    const id = await inTime(path, () => stat(path)).then(
      ({ dev, ino }) => `${dev} ${ino}`,
      () => undefined,
    )
    if (id === undefined || watched.get(path)?.id === id) return
    const isFirst = !watched.has(path)
    watched.get(path)?.watcher?.close()
    watched.set(path, { id, watcher: open(path, () => watched.set(path, { id: '', watcher: undefined })) })
    // No event told of saves before this moment.
    if (!isFirst) hint()
  }
  const open = (path: string, lose: () => void): FSWatcher | undefined => {
    try {
      return watch(path, (event, name) => {
        // The folder itself has gone; its successor may have the same inode number.
        if (event === 'rename' && name === basename(path)) lose()
        if (name === null || !HALF_SAVE.test(name)) hint()
      }).on('error', lose)
    } catch {
      return undefined // gone again, or the kernel has no more watches
    }
  }
  return async () => void (await Promise.all(paths.map(renewOne)))
}
