/** What a service remembers of the node from look to look, so that it asks again only for what may have changed. */
import { run } from './exec.ts'
import { EVERY_TIME, makeFiles, type Files } from './files.ts'
import { makeSession } from './session.ts'

export interface Senses {
  files: Files
  /** What a program said under this name less than `maxAgeMs` ago and not before `forget`, else what it says now. */
  ask: <T>(name: string, maxAgeMs: number, ask: () => Promise<T>) => Promise<T>
  /** The neighbour table, as `ip -j` has it; undefined when it does not tell. */
  neighbours: () => Promise<string | undefined>
  /** The kernel told that its networks changed. */
  forget: () => void
  close: () => void
}

/** For whoever looks once. */
export const FRESH: Senses = {
  files: EVERY_TIME,
  ask: (_, __, ask) => ask(),
  neighbours: readNeighbours,
  forget: () => undefined,
  close: () => undefined,
}

const NEIGHBOURS = ['neigh', 'show']

async function readNeighbours(): Promise<string | undefined> {
  const { code, stdout } = await run('ip', ['-j', ...NEIGHBOURS])
  return code === 0 ? stdout : undefined
}

export function makeSenses(now: () => number = () => performance.now()): Senses {
  const known = new Map<string, { at: number; value: unknown }>()
  let forgotten = 0
  const ip = makeSession('ip', ['-j', '-batch', '-'], { end: '\n', greets: false }, now)
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
    neighbours: async () => (await ip.ask([NEIGHBOURS.join(' ')])) ?? readNeighbours(),
    forget: () => void (forgotten = now()),
    close: ip.close,
  }
}
