/** `did you mean`: the name that a misspelt one is closest to. */

/** The closest of some names, case aside; undefined when none is close: at most a third of the signs may be wrong. */
export function nearest(word: string, names: Iterable<string>): string | undefined {
  const typed = word.toLowerCase().slice(0, MAX_CHARS)
  let best: { name: string; distance: number } | undefined
  for (const name of names) {
    const distance = editDistance(typed, name.toLowerCase())
    const limit = Math.max(1, Math.floor(Math.max(typed.length, name.length) / 3))
    if (distance <= limit && distance < (best?.distance ?? Infinity)) best = { name, distance }
  }
  return best?.name
}

const MAX_CHARS = 64

/** How many signs must be put in, left out, changed or exchanged with their neighbour. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > MAX_CHARS) return Infinity
  let [older, before] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (before[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      let least = Math.min(change, (before[j] as number) + 1, (row[j - 1] as number) + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, (older[j - 2] as number) + 1)
      row.push(least)
    }
    ;[older, before] = [before, row]
  }
  return before[b.length] as number
}
