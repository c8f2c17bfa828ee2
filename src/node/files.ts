/** Reads files, and reads again only those that may have changed since. */
import { constants, lstatSync, type Stats } from 'node:fs'

export interface Files {
  /** The last result of `read` for an unchanged file, else its new one. A failure is never kept. */
  read: <T>(path: string, read: () => Promise<T>) => Promise<T>
  /** Begins a look: files that the look before did not ask for are forgotten. */
  next: () => void
}

/**
 * pmxcfs keeps whole seconds of the writer's clock, so two saves of one size within a second look the same. A text is trusted only when it
 * was read this long after the file first looked as it does.
 */
const SETTLED_MS = 3000
/** In case that a file is changed without a trace after all. */
const MAX_TRUST_MS = 600_000

interface Seen {
  /** Tells one state of the file from another. */
  stamp: string
  /** When the file first looked so, and when it was read last. */
  since: number
  readAt: number
  value: unknown
}

/** The stamp of a path; undefined for one that is to be read, and refused, each time. */
type AskStamp = (path: string) => Promise<string | undefined> | string | undefined

const stampNow: AskStamp = (path) => {
  try {
    return stampOf(lstatSync(path, { throwIfNoEntry: false }))
  } catch {
    return undefined
  }
}

/** The stamp of a plain file, and of a missing one. */
export function stampOf(stats: Stats | undefined): string | undefined {
  if (stats === undefined) return 'missing'
  const { ino, size, mtimeMs, ctimeMs, mode } = stats
  const isPlain = (mode & constants.S_IFMT) === constants.S_IFREG
  return isPlain ? `${ino} ${size} ${mtimeMs} ${ctimeMs} ${mode}` : undefined
}

export function makeFiles(now: () => number = () => performance.now(), askStamp = stampNow): Files {
  let before = new Map<string, Seen>()
  let seen = new Map<string, Seen>()
  return {
    async read<T>(path: string, read: () => Promise<T>): Promise<T> {
      const known = seen.get(path) ?? before.get(path)
      const stamp = await askStamp(path)
      const isSame = known !== undefined && known.stamp === stamp
      if (isSame && known.readAt - known.since >= SETTLED_MS && now() - known.readAt < MAX_TRUST_MS) {
        seen.set(path, known)
        return known.value as T
      }
      const readAt = now()
      const value = await read()
      if (stamp !== undefined) seen.set(path, { stamp, since: isSame ? known.since : readAt, readAt, value })
      return value
    },
    next() {
      before = seen
      seen = new Map()
    },
  }
}
