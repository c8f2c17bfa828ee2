/**
 * How many entries own sets have, asked each second. Events tell of rules, of sets they do not; and to start a program that often costs more
 * than all else that an idle service does. So one ipset stays, which reads a question a line and ends each answer with a prompt.
 */
import { hold, run } from './exec.ts'

const PROMPT = 'ipset> '
/** It answers within a millisecond, or hangs. */
const ANSWER_MS = 2000
/** Where there is none that stays it is not looked for each second. */
const AGAIN_MS = 60_000

export interface SetCounts {
  /** The number of entries of each of these own sets; undefined when one is missing. */
  count: (sets: readonly string[]) => Promise<Map<string, number> | undefined>
  close: () => void
}

export function makeSetCounts(now: () => number = () => performance.now()): SetCounts {
  let session: Session | undefined
  let openAt = -Infinity
  let isClosed = false
  let last: Promise<unknown> = Promise.resolve()
  const stop = (): void => {
    session?.stop()
    session = undefined
  }
  const ask = async (questions: readonly string[]): Promise<string> => {
    if (!session && now() >= openAt) {
      session = await openSession()
      if (!session) openAt = now() + AGAIN_MS
      if (isClosed) stop()
    }
    return session ? session.ask(questions) : ''
  }
  const count = async (sets: readonly string[]): Promise<Map<string, number> | undefined> => {
    if (sets.length === 0) return new Map()
    const questions = sets.map((name) => `list -t ${name}`)
    const counts = countsIn(await ask(questions))
    if (counts.size === sets.length) return counts
    // One that has failed once fails with every question.
    stop()
    if (isClosed) return undefined
    const { code, stdout } = await run('ipset', ['restore'], questions.map((one) => `${one}\n`).join(''))
    return code === 0 ? countsIn(stdout) : undefined
  }
  return {
    count(sets) {
      const counted = last.then(() => count(sets))
      last = counted.catch(() => undefined)
      return counted
    },
    close() {
      isClosed = true
      stop()
    },
  }
}

interface Session {
  /** What it says to these lines; less when it hangs or ends. */
  ask: (questions: readonly string[]) => Promise<string>
  stop: () => void
}

async function openSession(): Promise<Session | undefined> {
  let heard = ''
  let isOver = false
  let onNews = (): void => undefined
  const held = await hold('stdbuf', ['-o0', 'ipset', '-'], (text) => {
    heard += text
    onNews()
  })
  if (!held) return undefined
  void held.ended.then(() => {
    isOver = true
    onNews()
  })
  /** Whether as many answers have come in time. */
  const hasAnswered = (answers: number): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ANSWER_MS)
      onNews = () => {
        const isThere = heard.split(PROMPT).length > answers
        if (!isThere && !isOver) return
        clearTimeout(timer)
        resolve(isThere)
      }
      onNews()
    })
  if (!(await hasAnswered(1))) {
    held.stop()
    return undefined
  }
  return {
    async ask(questions) {
      heard = ''
      held.write(questions.map((question) => `${question}\n`).join(''))
      await hasAnswered(questions.length)
      return heard
    },
    stop: held.stop,
  }
}

function countsIn(text: string): Map<string, number> {
  const found = text.matchAll(/^(?:ipset> )?Name: (\S+)$[\s\S]*?^Number of entries: (\d+)$/gm)
  return new Map([...found].map(([, name = '', count]) => [name, Number(count)]))
}
