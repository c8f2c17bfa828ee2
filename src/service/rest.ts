/** Gives memory back. V8 keeps what a burst of edits took until it needs more, which an idle service never does. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Whoever edits one file will edit another; but while edits go on what they leave behind is not to pile up. */
const EVERY_MS = 3000
/** Each time V8 moves together a part of what is left, and gives back the pages that this empties. */
const TIMES = 2

/** Call what it returns after work that made much garbage. To collect it takes less time than a change does. */
export function makeRest(): () => void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let timer: NodeJS.Timeout | undefined
  let left = 0
  const wait = (): void => {
    timer = left-- > 0 ? setTimeout(() => (collect(), wait()), EVERY_MS).unref() : undefined
  }
  return () => {
    left = TIMES
    if (!timer) wait()
  }
}
