/**
 * The only cache of the pipeline: the results of single files in the last look. Measured at 10,000 forwards: to read all files from nothing takes
 * 500 ms of CPU time (docs/performance.md), more than a save may take until its first packet, while an edit changes one file; a look every five
 * seconds would take ten times the 1 % of a core that the idle service may use. The result is the same with and without the cache.
 */
export interface FileCache {
  /** The value that `make` gave for this name and the very same inputs before; else the value that it gives now. */
  make: <T>(name: string, inputs: readonly unknown[], make: () => T) => T
  /** The value of before when the new one is equal, so that it is the same input to `make`; else the new one. */
  keep: <T>(name: string, value: T) => T
  /** Forgets the names that nobody asked for since the last sweep. */
  sweep: () => void
}

interface Entry {
  inputs: readonly unknown[]
  value: unknown
  isUsed: boolean
}

export function makeFileCache(): FileCache {
  const entries = new Map<string, Entry>()
  const use = (
    name: string,
    isSame: (known: Entry) => boolean,
    fresh: () => Omit<Entry, 'isUsed'>,
  ): unknown => {
    const known = entries.get(name)
    const entry = known && isSame(known) ? known : { ...fresh(), isUsed: true }
    entry.isUsed = true
    entries.set(name, entry)
    return entry.value
  }
  return {
    make: <T>(name: string, inputs: readonly unknown[], make: () => T): T =>
      use(
        name,
        (known) =>
          known.inputs.length === inputs.length &&
          inputs.every((input, i) => Object.is(input, known.inputs[i])),
        () => ({ inputs, value: make() }),
      ) as T,
    keep: <T>(name: string, value: T): T =>
      use(
        `kept ${name}`,
        (known) => sameValue(known.value, value),
        () => ({ inputs: [], value }),
      ) as T,
    sweep() {
      for (const [name, entry] of entries)
        if (entry.isUsed) entry.isUsed = false
        else entries.delete(name)
    },
  }
}

/** Whether two values of plain data (maps, sets, lists, records) are equal. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a.constructor !== b.constructor) return false
  if (Array.isArray(a)) return sameLists(a, b as readonly unknown[])
  if (a instanceof Map || a instanceof Set) return sameLists([...a], [...(b as Iterable<unknown>)])
  return sameRecords(a as Record<string, unknown>, b as Record<string, unknown>)
}

function sameLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((one, i) => sameValue(one, b[i]))
}

function sameRecords(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameValue(a[key], b[key]))
  )
}
