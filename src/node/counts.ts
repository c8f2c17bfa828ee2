/**
 * How many entries own sets have, asked each second. Events tell of rules, of sets they do not; and to start a program that often costs more
 * than all else that an idle service does. So one ipset stays, which reads a question a line and ends each answer with a prompt.
 */
import { hold, run, type Held } from './exec.ts'

const PROMPT = 'ipset> '
/** It answers within a millisecond, or hangs. */
const ANSWER_MS = 2000

export interface SetCounts {
  /** The number of entries of each of these own sets; undefined when one is missing. */
  count: (sets: readonly string[]) => Promise<Map<string, number> | undefined>
  close: () => void
}

export function makeSetCounts(): SetCounts {
  let held: Held | undefined
  /** There is none that ends its answers so. */
  let isMute = false
  let heard = ''
  let onHeard = (): void => undefined
  const close = (): void => {
    held?.stop()
    held = undefined
  }
  /** Whether as many answers have come in time. */
  const hasAnswered = async (answers: number): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ANSWER_MS)
      onHeard = () => {
        if (heard.split(PROMPT).length <= answers) return
        clearTimeout(timer)
        resolve(true)
      }
      onHeard()
    })
  const start = async (): Promise<boolean> => {
    heard = ''
    held = await hold('stdbuf', ['-o0', 'ipset', '-'], (text) => {
      heard += text
      onHeard()
    })
    if (held) isMute = !(await hasAnswered(1))
    return held !== undefined && !isMute
  }
  const ask = async (questions: readonly string[]): Promise<string> => {
    if (isMute || (!held && !(await start()))) return ''
    heard = ''
    held?.write(questions.map((question) => `${question}\n`).join(''))
    return (await hasAnswered(questions.length)) ? heard : ''
  }
  return {
    async count(sets) {
      if (sets.length === 0) return new Map()
      const questions = sets.map((name) => `list -t ${name}`)
      const counts = countsIn(await ask(questions))
      if (counts.size === sets.length) return counts
      // One that has failed once fails with every question; without stdbuf there is none at all.
      close()
      const { code, stdout } = await run('ipset', ['restore'], questions.map((one) => `${one}\n`).join(''))
      return code === 0 ? countsIn(stdout) : undefined
    },
    close,
  }
}

function countsIn(text: string): Map<string, number> {
  const found = text.matchAll(/^(?:ipset> )?Name: (\S+)$[\s\S]*?^Number of entries: (\d+)$/gm)
  return new Map([...found].map(([, name = '', count]) => [name, Number(count)]))
}
