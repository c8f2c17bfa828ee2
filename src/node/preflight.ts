/** Loads rules into a namespace that nobody uses, to see whether the kernel takes them before anything is touched. */
import { readlink } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { FAMILIES } from '../address.ts'
import { parseSave } from '../ruleset/inforce.ts'
import type { Chain, Ruleset } from '../ruleset/model.ts'
import { makePlan, type Plan } from '../ruleset/plan.ts'
import { CommandFailed, hold, run } from './exec.ts'
import { restoreProgram, type Backend } from './backend.ts'

const MAX_TRIES = 200
const TRY_MS = 5

/** `untried`: this system lets us make no such namespace. */
export type Verdict = 'taken' | 'untried' | CommandFailed

/**
 * Tries the part of a ruleset that `plan` would change: chains that stay as they are, and members of sets that stay, are left
 * empty. `--test` of iptables-restore would not do: much is refused by the kernel only.
 */
export async function preflight(backend: Backend, ruleset: Ruleset, plan: Plan): Promise<Verdict> {
  const inForce = { chains: { 4: parseSave(''), 6: parseSave('') }, sets: new Map() }
  const trial = makePlan(changedPart(ruleset, plan), inForce)
  // A user namespace, so that it needs no power over the system.
  const holder = await hold('unshare', ['--user', '--map-root-user', '--net', 'sleep', '60'])
  if (!holder) return 'untried'
  if (!(await isApart(holder.pid))) {
    holder.stop()
    return 'untried'
  }
  const inside = (file: string, args: readonly string[], input: string): ReturnType<typeof run> =>
    run(
      'nsenter',
      ['--target', String(holder.pid), '--user', '--net', '--preserve-credentials', '--', file, ...args],
      input,
    )
  try {
    if (trial.sets !== '') {
      const finished = await inside('ipset', ['restore'], trial.sets)
      if (finished.code !== 0) return new CommandFailed('ipset restore', finished, trial.sets)
    }
    for (const family of FAMILIES) {
      if (trial.tables[family] === '') continue
      const file = restoreProgram(backend, family)
      const finished = await inside(file, ['--noflush', '--wait=5'], trial.tables[family])
      if (finished.code !== 0) return new CommandFailed(file, finished, trial.tables[family])
    }
    return 'taken'
  } finally {
    holder.stop()
  }
}

/** Entered a moment too early, the holder's namespaces would still be ours, and the trial would be for real. */
async function isApart(pid: number): Promise<boolean> {
  const space = (process: string, name: string): Promise<string> =>
    readlink(`/proc/${process}/ns/${name}`).catch(() => '')
  const own = await Promise.all(['net', 'user'].map((name) => space('self', name)))
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const theirs = await Promise.all(['net', 'user'].map((name) => space(String(pid), name)))
    if (theirs.every((one, i) => one !== '' && one !== own[i])) return true
    await delay(TRY_MS)
  }
  return false
}

function changedPart({ chains, sets, loop }: Ruleset, { changes }: Plan): Ruleset {
  const changed = new Set(changes.map(({ what, family }) => `${what} ${family}`))
  const reduce = (family: 4 | 6): Chain[] =>
    chains[family].map((chain) =>
      changed.has(`chain ${chain.name} ${family}`) ? chain : { ...chain, rules: [] },
    )
  return {
    chains: { 4: reduce(4), 6: reduce(6) },
    sets: sets.map((set) => (changed.has(`set ${set.name} ${set.family}`) ? set : { ...set, entries: [] })),
    loop,
  }
}
