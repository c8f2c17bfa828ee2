/** Whether own sets hold what they should, asked each second: events tell of rules, of sets they do not. */
import { sameValue } from '../memo.ts'
import { parseSets, type SavedSet } from '../ruleset/inforce.ts'
import { run } from './exec.ts'
import { makeSession } from './session.ts'

/**
 * How many members there are costs next to nothing to ask. To read them takes ipset 7 us each, since it opens /etc/protocols for every
 * one: they are read again after so many milliseconds for each, which is each second up to some three hundred.
 */
const PAUSE_MS = 3
const PROMPT = 'ipset> '

export interface Members {
  /** Whether one of these own sets is missing or is seen to hold others. */
  areOther: (sets: ReadonlyMap<string, SavedSet>) => Promise<boolean>
  close: () => void
}

export function makeMembers(now: () => number = () => performance.now()): Members {
  const session = makeSession('ipset', ['-'], { end: PROMPT, greets: true }, now)
  let isClosed = false
  let dueAt = -Infinity

  /** What ipset tells of each of these sets; undefined when it does not know one of them. */
  const ask = async <T>(
    verb: string,
    names: readonly string[],
    parse: (text: string) => Map<string, T>,
  ): Promise<Map<string, T> | undefined> => {
    const lines = names.map((name) => `${verb} ${name}`)
    const heard = parse((await session.ask(lines))?.replaceAll(PROMPT, '') ?? '')
    if (heard.size === names.length) return heard
    // One that has failed once fails with every question.
    session.renew()
    if (isClosed) return undefined
    const { code, stdout } = await run('ipset', ['restore'], lines.map((line) => `${line}\n`).join(''))
    return code === 0 ? parse(stdout) : undefined
  }
  return {
    async areOther(sets) {
      const names = [...sets.keys()]
      if (names.length === 0) return false
      const counts = await ask('list -t', names, countsIn)
      if ([...sets].some(([name, { entries }]) => counts?.get(name) !== entries.length)) return true
      if (now() < dueAt) return false
      const found = await ask('save', names, parseSets)
      dueAt = now() + PAUSE_MS * [...sets.values()].reduce((sum, { entries }) => sum + entries.length, 0)
      return [...sets].some(([name, { entries }]) => !sameValue(found?.get(name)?.entries, entries))
    },
    close() {
      isClosed = true
      session.close()
    },
  }
}

function countsIn(text: string): Map<string, number> {
  const found = text.matchAll(/^Name: (\S+)$[\s\S]*?^Number of entries: (\d+)$/gm)
  return new Map([...found].map(([, name = '', count]) => [name, Number(count)]))
}
