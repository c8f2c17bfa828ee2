/** Compares the members of own sets with the desired ones. The kernel has no events for sets, so they are read at intervals. */
import { sameValue } from '../file-cache.ts'
import { parseSets, type SavedSet } from '../ruleset/installed.ts'
import { run } from './exec.ts'

/**
 * ipset takes 7 us to print a member, since it opens /etc/protocols for each: members are read after a pause of so many milliseconds
 * a member, and meanwhile counted, which takes next to nothing.
 */
const PAUSE_MS = 5

type Sets = ReadonlyMap<string, SavedSet>

/** A function that tells whether one of these own sets is missing or seen to hold other members. */
export function makeMembersCheck(
  now: () => number = () => performance.now(),
): (sets: Sets) => Promise<boolean> {
  let dueAt = -Infinity
  const ask = async (verb: string, sets: Sets): Promise<string> => {
    const lines = [...sets.keys()].map((name) => `${verb} ${name}\n`)
    return (await run('ipset', ['restore'], lines.join(''))).stdout
  }
  return async (sets) => {
    if (sets.size === 0) return false
    if (now() < dueAt) {
      const counts = parseCounts(await ask('list -t', sets))
      return [...sets].some(([name, { entries }]) => counts.get(name) !== entries.length)
    }
    const found = parseSets(await ask('save', sets))
    dueAt = now() + PAUSE_MS * [...sets.values()].reduce((sum, { entries }) => sum + entries.length, 0)
    return [...sets].some(([name, { entries }]) => !sameValue(found.get(name)?.entries, entries))
  }
}

const NAME = 'Name: '
const NUMBER = 'Number of entries: '

function parseCounts(text: string): Map<string, number> {
  const counts = new Map<string, number>()
  let name = ''
  for (const line of text.split('\n')) {
    if (line.startsWith(NAME)) name = line.slice(NAME.length)
    if (line.startsWith(NUMBER)) counts.set(name, Number(line.slice(NUMBER.length)))
  }
  return counts
}
