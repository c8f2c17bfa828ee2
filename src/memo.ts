/**
 * What one round of the pipeline found out, for the next: an edit of one file must not cost what all files cost. Whoever runs
 * the pipeline once needs none. With it or without, the result is the same.
 */
export interface Memo {
  /** What `make` made under this name from the very same inputs, else what it makes now. */
  make: <T>(name: string, inputs: readonly unknown[], make: () => T) => T
  /** As `make`. What is made on the way is remembered by the memo that `make` is given, for as long as this name is used. */
  nest: <T>(name: string, inputs: readonly unknown[], make: (memo: Memo) => T) => T
  /** The value that had this name before when it says the same as the new one, so that what was made of it stands; else the new one. */
  keep: <T>(name: string, value: T, isSame?: (before: T, now: T) => boolean) => T
  /** Begins a round: names that the one before did not use are forgotten. */
  next: () => void
  /** Ends a round that may be the last one for long: what it did not use is forgotten at once. */
  end: () => void
}

interface Entry {
  inputs: readonly unknown[]
  value: unknown
  nested?: Memo
}

export function makeMemo(): Memo {
  let before = new Map<string, Entry>()
  let now = new Map<string, Entry>()
  const remember = (name: string, entry: Entry): void => void now.set(name, entry)
  const find = (name: string): Entry | undefined => now.get(name) ?? before.get(name)
  const makeOnce = (name: string, inputs: readonly unknown[], make: (known?: Entry) => Entry): unknown => {
    const known = find(name)
    const isSame =
      known?.inputs.length === inputs.length && inputs.every((input, i) => Object.is(input, known.inputs[i]))
    const entry = isSame ? known : make(known)
    remember(name, entry)
    return entry.value
  }
  return {
    make: <T>(name: string, inputs: readonly unknown[], make: () => T): T =>
      makeOnce(name, inputs, () => ({ inputs, value: make() })) as T,
    nest: <T>(name: string, inputs: readonly unknown[], make: (memo: Memo) => T): T =>
      makeOnce(name, inputs, (known) => {
        const nested = known?.nested ?? makeMemo()
        nested.next()
        const value = make(nested)
        nested.end()
        return { inputs, nested, value }
      }) as T,
    keep<T>(name: string, value: T, isSame: (before: T, now: T) => boolean = sameValue): T {
      const known = find(`kept ${name}`)
      const entry = known && isSame(known.value as T, value) ? known : { inputs: [], value }
      remember(`kept ${name}`, entry)
      return entry.value as T
    },
    next() {
      before = now
      now = new Map()
    },
    end() {
      before = new Map()
    },
  }
}

/** Whether two values of plain data (maps, sets, lists, records) say the same. Thousands of times a look: no lists are made for it. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a.constructor !== b.constructor) return false
  if (Array.isArray(a)) return sameLists(a, b as readonly unknown[])
  if (a instanceof Map || a instanceof Set) return sameLists([...a], [...(b as Iterable<unknown>)])
  return sameRecords(a as Record<string, unknown>, b as Record<string, unknown>)
}

function sameLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (!sameValue(a[i], b[i])) return false
  return true
}

function sameRecords(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameValue(a[key], b[key]))
  )
}
