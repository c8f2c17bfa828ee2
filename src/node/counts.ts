/** How many entries own sets have, asked each second: events tell of rules, of sets they do not. */
import { run } from './exec.ts'
import { makeSession } from './session.ts'

export interface SetCounts {
  /** The number of entries of each of these own sets; undefined when one is missing. */
  count: (sets: readonly string[]) => Promise<Map<string, number> | undefined>
  close: () => void
}

export function makeSetCounts(now?: () => number): SetCounts {
  const session = makeSession('ipset', ['-'], { end: 'ipset> ', greets: true }, now)
  let isClosed = false
  return {
    async count(sets) {
      if (sets.length === 0) return new Map()
      const questions = sets.map((name) => `list -t ${name}`)
      const counts = countsIn((await session.ask(questions)) ?? '')
      if (counts.size === sets.length) return counts
      // One that has failed once fails with every question.
      session.renew()
      if (isClosed) return undefined
      const { code, stdout } = await run('ipset', ['restore'], questions.map((one) => `${one}\n`).join(''))
      return code === 0 ? countsIn(stdout) : undefined
    },
    close() {
      isClosed = true
      session.close()
    },
  }
}

function countsIn(text: string): Map<string, number> {
  const found = text.matchAll(/^(?:ipset> )?Name: (\S+)$[\s\S]*?^Number of entries: (\d+)$/gm)
  return new Map([...found].map(([, name = '', count]) => [name, Number(count)]))
}
