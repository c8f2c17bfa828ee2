/** What a service remembers of the node from look to look, so that it asks again only for what may have changed. */
import { EVERY_TIME, makeFiles, type Files } from './files.ts'

export interface Senses {
  files: Files
  /** What a program said under this name less than `maxAgeMs` ago and not before `forget`, else what it says now. */
  ask: <T>(name: string, maxAgeMs: number, ask: () => Promise<T>) => Promise<T>
  /** The kernel told that its networks changed. */
  forget: () => void
}

/** For whoever looks once. */
export const FRESH: Senses = { files: EVERY_TIME, ask: (_, __, ask) => ask(), forget: () => undefined }

export function makeSenses(now: () => number = () => performance.now()): Senses {
  const known = new Map<string, { at: number; value: unknown }>()
  let forgotten = 0
  return {
    files: makeFiles(now),
    async ask<T>(name: string, maxAgeMs: number, ask: () => Promise<T>): Promise<T> {
      const last = known.get(name)
      const at = now()
      if (last && last.at > forgotten && at - last.at < maxAgeMs) return last.value as T
      const value = await ask()
      known.set(name, { at, value })
      return value
    },
    forget: () => void (forgotten = now()),
  }
}
