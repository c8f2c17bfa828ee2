/** A program that stays and answers line by line: to start one for each question often costs more than all else that an idle service does. */
import { hold, type Held } from './exec.ts'

/** It answers within a millisecond, or hangs. */
const ANSWER_MS = 2000
/** Where there is none that stays it is not looked for each second. */
const AGAIN_MS = 60_000

export interface Session {
  /** What it says to these lines; undefined when it did not answer them all: it hangs, has ended or cannot be started. */
  ask: (lines: readonly string[]) => Promise<string | undefined>
  /** Has another one started for the next question. */
  renew: () => void
  close: () => void
}

/** How its answers are told apart. */
interface Language {
  /** The ends of answers in what was heard. */
  end: string
  /** It ends something before it is asked anything. */
  greets: boolean
}

export function makeSession(
  file: string,
  args: readonly string[],
  { end, greets }: Language,
  now: () => number = () => performance.now(),
): Session {
  let program: Program | undefined
  let openAt = -Infinity
  let isClosed = false
  let last: Promise<unknown> = Promise.resolve()
  const renew = (): void => {
    program?.stop()
    program = undefined
  }
  const ask = async (lines: readonly string[]): Promise<string | undefined> => {
    if (!program && !isClosed && now() >= openAt) {
      program = await open(file, args, end, greets ? 1 : 0)
      if (!program) openAt = now() + AGAIN_MS
      if (isClosed) renew()
    }
    const heard = await program?.ask(lines)
    if (heard === undefined) renew()
    return heard
  }
  return {
    ask(lines) {
      const asked = last.then(() => ask(lines))
      last = asked.catch(() => undefined)
      return asked
    },
    renew,
    close() {
      isClosed = true
      renew()
    },
  }
}

interface Program extends Pick<Held, 'stop'> {
  ask: (lines: readonly string[]) => Promise<string | undefined>
}

async function open(
  file: string,
  args: readonly string[],
  end: string,
  greetings: number,
): Promise<Program | undefined> {
  let heard = ''
  let answers = 0
  /** What may be the beginning of an end. */
  let rest = ''
  let isOver = false
  let onNews = (): void => undefined
  // Its answers are to come at once; a line of its own need not come letter by letter.
  const buffer = end === '\n' ? '-oL' : '-o0'
  const held = await hold('stdbuf', [buffer, file, ...args], (text) => {
    heard += text
    const fresh = rest + text
    answers += fresh.split(end).length - 1
    rest = fresh.slice(Math.max(0, fresh.length - end.length + 1))
    onNews()
  })
  if (!held) return undefined
  void held.ended.then(() => {
    isOver = true
    onNews()
  })
  /** Whether as many answers have come in time. */
  const hasAnswered = (expected: number): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ANSWER_MS)
      onNews = () => {
        const isThere = answers >= expected
        if (!isThere && !isOver) return
        clearTimeout(timer)
        resolve(isThere)
      }
      onNews()
    })
  if (!(await hasAnswered(greetings))) {
    held.stop()
    return undefined
  }
  return {
    async ask(lines) {
      ;[heard, rest, answers] = ['', '', 0]
      held.write(lines.map((line) => `${line}\n`).join(''))
      return (await hasAnswered(lines.length)) ? heard : undefined
    },
    stop: held.stop,
  }
}
