/** Whether own sets hold what they should, asked each second: events tell of rules, of sets they do not. */
import { shortHash } from '../hash.ts'
import { sameValue } from '../memo.ts'
import { parseSets, type SavedSet } from '../ruleset/inforce.ts'
import { run } from './exec.ts'
import { makeSession, type Session } from './session.ts'

/**
 * How many members there are costs next to nothing to ask. To read them takes ipset 7 us each, since it opens /etc/protocols for every
 * one: they are read again after so many milliseconds for each, which is each second up to two hundred.
 */
const PAUSE_MS = 5
/** For what is asked less often a program need not stay. */
const OFTEN_MS = 1000
const PROMPT = 'ipset> '

type Sets = ReadonlyMap<string, SavedSet>

export interface Members {
  /** Whether one of these own sets is missing or is seen to hold others. */
  areOther: (sets: Sets) => Promise<boolean>
  close: () => void
}

export function makeMembers(now: () => number = () => performance.now()): Members {
  const makeIpset = () => makeSession('ipset', ['-'], { end: PROMPT, greets: true }, now)
  // After a `list -t` one would answer a `save` as a list.
  const [counting, saving] = [makeIpset(), makeIpset()]
  let isClosed = false
  let dueAt = -Infinity
  /** What was read last of these sets, and was right. */
  let right: { sets: Sets; hash: string } | undefined

  const areOtherMembers = (sets: Sets, text: string): boolean | undefined => {
    const hash = shortHash(text)
    if (right?.sets === sets && right.hash === hash) return false
    const found = parseSets(text)
    if (found.size < sets.size) return undefined
    const isOther = [...sets].some(([name, { entries }]) => !sameValue(found.get(name)?.entries, entries))
    if (!isOther) right = { sets, hash }
    return isOther
  }
  /** `compare` gives undefined for an answer that does not tell of all of them. */
  const ask = async (
    verb: string,
    sets: Sets,
    compare: (sets: Sets, text: string) => boolean | undefined,
    session?: Session,
  ): Promise<boolean> => {
    const lines = [...sets.keys()].map((name) => `${verb} ${name}`)
    const heard = (await session?.ask(lines))?.replaceAll(PROMPT, '')
    const isOther = heard === undefined ? undefined : compare(sets, heard)
    if (isOther !== undefined) return isOther
    // One that has failed once fails with every question.
    session?.renew()
    if (isClosed) return false
    const { stdout } = await run('ipset', ['restore'], lines.map((line) => `${line}\n`).join(''))
    return compare(sets, stdout) ?? true
  }
  return {
    async areOther(sets) {
      if (sets.size === 0) return false
      if (now() < dueAt) return ask('list -t', sets, areOtherCounts, counting)
      const pauseMs = PAUSE_MS * [...sets.values()].reduce((sum, { entries }) => sum + entries.length, 0)
      const isOther = await ask('save', sets, areOtherMembers, pauseMs < OFTEN_MS ? saving : undefined)
      dueAt = now() + pauseMs
      return isOther
    },
    close() {
      isClosed = true
      counting.close()
      saving.close()
    },
  }
}

function areOtherCounts(sets: Sets, text: string): boolean | undefined {
  const found = text.matchAll(/^Name: (\S+)$[\s\S]*?^Number of entries: (\d+)$/gm)
  const counts = new Map([...found].map(([, name = '', count]) => [name, Number(count)]))
  if (counts.size < sets.size) return undefined
  return [...sets].some(([name, { entries }]) => counts.get(name) !== entries.length)
}
