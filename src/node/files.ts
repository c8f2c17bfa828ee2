/** Reads files, and reads again only those that may have changed since. */
import { lstatSync } from 'node:fs'

export interface Files {
  /** The text that `read` found at `path`, or what it finds now. What it throws is never remembered. */
  read: <T>(path: string, read: () => Promise<T>) => Promise<T>
  /** Begins a look: files that the one before did not ask for are forgotten. */
  next: () => void
}

/** For whoever looks once. */
export const EVERY_TIME: Files = { read: (_, read) => read(), next: () => undefined }

/**
 * pmxcfs keeps whole seconds of the writer's clock, so two saves of one size within a second look the same. A text is trusted only when it
 * was read this long after the file first looked as it does.
 */
const SETTLED_MS = 3000
/** In case that something is changed without a trace after all. */
const MAX_TRUST_MS = 600_000

interface Seen {
  stamp: string
  /** When the file first looked so, and when it was read last. */
  since: number
  readAt: number
  value: unknown
}

export function makeFiles(now: () => number = () => performance.now()): Files {
  let before = new Map<string, Seen>()
  let seen = new Map<string, Seen>()
  return {
    async read<T>(path: string, read: () => Promise<T>): Promise<T> {
      const known = seen.get(path) ?? before.get(path)
      const stamp = stampOf(path)
      const isSame = known !== undefined && known.stamp === stamp
      const readAt = now()
      const isTrusted =
        isSame && known.readAt - known.since >= SETTLED_MS && readAt - known.readAt < MAX_TRUST_MS
      if (isTrusted) {
        seen.set(path, known)
        return known.value as T
      }
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

/** What tells one state of a plain file from another; undefined for anything else, also for what cannot be looked at. */
function stampOf(path: string): string | undefined {
  try {
    const { ino, size, mtimeMs, ctimeMs, mode } = lstatSync(path)
    // That many links: a folder or link is something to be read, and refused, each time.
    return (mode & 0o170000) === 0o100000 ? [ino, size, mtimeMs, ctimeMs, mode].join() : undefined
  } catch {
    return undefined
  }
}
