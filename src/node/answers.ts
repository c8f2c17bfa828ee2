/** Answers of the node that stand for a while, so that the service does not ask each time for what the kernel would tell of. */
import { makeFiles, type Files } from './files.ts'

export interface Answers {
  files: Files
  /** The answer under this name that is younger than `maxAgeMs` and than the last `forget`, else what `ask` says now. */
  ask: <T>(name: string, maxAgeMs: number, ask: () => Promise<T>) => Promise<T>
  /** The kernel told that its networks changed. */
  forget: () => void
}

/** For a command, which asks once. */
export const NO_ANSWERS: Answers = {
  files: { read: (_, read) => read(), next: () => undefined },
  ask: (_, __, ask) => ask(),
  forget: () => undefined,
}

export function makeAnswers(now: () => number = () => performance.now()): Answers {
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
