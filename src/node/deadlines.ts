/** Questions about files of a mount that may never answer. */

export class Late extends Error {}

/** Asks about a path; throws Late when no answer comes in time, and at once while an earlier question about the path is open. */
export type AskInTime = <T>(path: string, ask: () => Promise<T>) => Promise<T>

/** `onAnswer` hears when an answer that was late comes after all. */
export function makeDeadlines(limitMs: number, onAnswer: () => void): AskInTime {
  const open = new Set<string>()
  return <T>(path: string, ask: () => Promise<T>): Promise<T> =>
    // Not Promise.race, which takes twice as long: thousands of files are asked for.
    new Promise((resolve, reject) => {
      if (open.has(path)) return reject(new Late(path))
      let isLate = false
      let isDone = false
      const giveUp = (): void => {
        if (isDone) return
        isLate = true
        open.add(path)
        reject(new Late(path))
      }
      // An answer that came while this process did not run is heard first.
      const timer = setTimeout(() => setImmediate(giveUp), limitMs)
      const end = (): void => {
        isDone = true
        clearTimeout(timer)
        if (!isLate) return
        open.delete(path)
        onAnswer()
      }
      const asked = ask()
      asked.then(end, end)
      asked.then(resolve, reject)
    })
}
