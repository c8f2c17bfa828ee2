/** Reads files, and reads again only those that may have changed since. */
import { lstatSync } from 'node:fs'

export interface Files {
  /** The text that `read` found at `path`, or what it finds now. What it throws is never remembered. */
  read: <T>(path: string, read: () => Promise<T>) => Promise<T>
  /** What `make` made of the files that it read, as long as `key` is the same and all of them are trusted to be as they were. */
  all: <T>(name: string, key: string, make: (files: Files) => Promise<T>) => Promise<T>
  /** Begins a look: files that the one before did not ask for are forgotten. */
  next: () => void
}

/** For whoever looks once. */
export const EVERY_TIME: Files = {
  read: (_, read) => read(),
  all: (_, __, make) => make(EVERY_TIME),
  next: () => undefined,
}

/**
 * pmxcfs keeps whole seconds of the writer's clock, so two saves of one size within a second look the same. A text is trusted only when it
 * was read this long after the file first looked as it does.
 */
const SETTLED_MS = 3000
/** In case that something is changed without a trace after all. */
const MAX_TRUST_MS = 600_000

/** What tells one state of a file from another. */
interface Stamp {
  ino: number
  size: number
  mtimeMs: number
  ctimeMs: number
  mode: number
}

interface Seen {
  stamp: Stamp
  /** When the file first looked so, and when it was read last. */
  since: number
  readAt: number
  value: unknown
}

interface Group {
  files: TrustedFiles
  made?: { key: string; value: unknown }
}

interface TrustedFiles extends Files {
  /** Whether each file that this look asked for is trusted to be as it was. */
  areTrusted: () => boolean
}

export function makeFiles(now: () => number = () => performance.now()): TrustedFiles {
  let before = new Map<string, Seen>()
  let seen = new Map<string, Seen>()
  /** Files that can never be trusted were asked for. */
  let isOpen = false
  const groups = new Map<string, Group>()
  const isTrusted = ({ since, readAt }: Seen): boolean =>
    readAt - since >= SETTLED_MS && now() - readAt < MAX_TRUST_MS
  return {
    async read<T>(path: string, read: () => Promise<T>): Promise<T> {
      const known = seen.get(path) ?? before.get(path)
      const stamp = stampOf(path)
      const isKnown = known !== undefined && stamp !== undefined && isSame(known.stamp, stamp)
      if (isKnown && isTrusted(known)) {
        seen.set(path, known)
        return known.value as T
      }
      const readAt = now()
      isOpen ||= stamp === undefined
      const value = await read().catch((error: unknown) => {
        isOpen = true
        throw error
      })
      if (stamp) {
        const { ino, size, mtimeMs, ctimeMs, mode } = stamp
        const since = isKnown ? known.since : readAt
        seen.set(path, { stamp: { ino, size, mtimeMs, ctimeMs, mode }, since, readAt, value })
      }
      return value
    },
    async all<T>(name: string, key: string, make: (files: Files) => Promise<T>): Promise<T> {
      const { files, made } = groups.get(name) ?? { files: makeFiles(now) }
      if (made?.key === key && files.areTrusted()) return made.value as T
      files.next()
      groups.set(name, { files })
      const value = await make(files)
      groups.set(name, { files, made: { key, value } })
      return value
    },
    areTrusted() {
      if (isOpen) return false
      for (const [path, known] of seen) {
        const stamp = stampOf(path)
        if (!stamp || !isSame(known.stamp, stamp) || !isTrusted(known)) return false
      }
      return true
    },
    next() {
      before = seen
      seen = new Map()
      isOpen = false
    },
  }
}

/** One that is not there has a state, too. */
const MISSING: Stamp = { ino: 0, size: 0, mtimeMs: 0, ctimeMs: 0, mode: 0 }

/** Of a plain file; undefined for anything else, also for what cannot be looked at: that is to be read, and refused, each time. */
function stampOf(path: string): Stamp | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats === undefined ? MISSING : (stats.mode & 0o170000) === 0o100000 ? stats : undefined
  } catch {
    return undefined
  }
}

function isSame(a: Stamp, b: Stamp): boolean {
  return (
    a.ino === b.ino &&
    a.size === b.size &&
    a.mtimeMs === b.mtimeMs &&
    a.ctimeMs === b.ctimeMs &&
    a.mode === b.mode
  )
}
