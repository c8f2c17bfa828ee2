/** Answers of the node that stand for a while: the kernel reports changes of them, so the service need not ask each time. */
import { makeFiles, type Files } from './files.ts'

/** Rules of others are no reason to wait long for a program that hangs. */
export const FOREIGN_TIMEOUT_MS = 2000

export interface Answers {
  files: Files
  /** The answer under this name that is younger than `maxAgeMs` and than the last `forget`, else what `ask` says now. */
  ask: <T>(name: string, maxAgeMs: number, ask: () => Promise<T>) => Promise<T>
  /**
   * As `ask`; the answer stands for a thousand times as long as it took, from 5 s to 5 min. After `forgetRules` it stands for ten times as long as
   * it took: an owner of a guest can have rules written again and again. If `ask` says undefined, nothing could be learnt, and the last answer stands.
   */
  askSeldom: <T>(name: string, ask: () => Promise<T | undefined>) => Promise<T | undefined>
  /** For how many milliseconds each of these names was among those of every look; Infinity for a command. */
  ages: (names: readonly string[]) => ReadonlyMap<string, number>
  /** The kernel told that its networks changed. */
  forget: () => void
  /** Rules may have been written into the kernel. */
  forgetRules: () => void
  /** In how many milliseconds the next of the forgotten answers is asked anew; Infinity if none waits for that. */
  waitMs: () => number
}

/** For a command, which asks once. */
export const NO_ANSWERS: Answers = {
  files: { read: (_, read) => read(), next: () => undefined },
  ask: (_, __, ask) => ask(),
  askSeldom: (_, ask) => ask(),
  ages: (names) => new Map(names.map((name) => [name, Infinity])),
  forget: () => undefined,
  forgetRules: () => undefined,
  waitMs: () => Infinity,
}

/** No answer costs more than a thousandth of a core. */
const SELDOM_FACTOR = 1000
/** Nor more than a tenth while rules are written. */
const WRITTEN_FACTOR = 10

export function makeAnswers(now: () => number = () => performance.now()): Answers {
  const known = new Map<string, { at: number; value: unknown }>()
  const seldom = new Map<string, { until: number; soonest: number; value: unknown }>()
  let since = new Map<string, number>()
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
    async askSeldom<T>(name: string, ask: () => Promise<T | undefined>): Promise<T | undefined> {
      const at = now()
      const last = seldom.get(name)
      if (last && at < last.until) return last.value as T | undefined
      const value = (await ask()) ?? (last?.value as T | undefined)
      const tookMs = now() - at
      const standsMs = Math.min(Math.max(SELDOM_FACTOR * tookMs, 5000), 300_000)
      seldom.set(name, { until: at + standsMs, soonest: at + WRITTEN_FACTOR * tookMs, value })
      return value
    },
    ages(names) {
      const at = now()
      since = new Map(names.map((name) => [name, since.get(name) ?? at]))
      return new Map([...since].map(([name, first]) => [name, at - first]))
    },
    forget: () => void (forgotten = now()),
    forgetRules() {
      for (const one of seldom.values()) one.until = Math.min(one.until, one.soonest)
    },
    waitMs() {
      const at = now()
      const waiting = [...seldom.values()].filter(({ until, soonest }) => until === soonest && at < until)
      return Math.min(...waiting.map(({ until }) => until - at))
    },
  }
}
