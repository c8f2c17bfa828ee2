/** Questions about files of a mount that may never answer. */

export class Late extends Error {}

/** Asks about a path; throws Late when no answer comes in time, and at once while an earlier question about the path is open. */
export type AskInTime = <T>(path: string, ask: () => Promise<T>) => Promise<T>

/** `onAnswer` hears when an answer that was late comes after all. */
export function makeDeadlines(limitMs: number, onAnswer: () => void): AskInTime {
  const open = new Set<string>()
  return async <T>(path: string, ask: () => Promise<T>): Promise<T> => {
    if (open.has(path)) throw new Late(path)
    const asked = ask()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        open.add(path)
        const close = (): void => {
          open.delete(path)
          onAnswer()
        }
        asked.then(close, close)
        reject(new Late(path))
      }, limitMs)
    })
    return Promise.race([asked, late]).finally(() => clearTimeout(timer))
  }
}
