/** Loads rules into a namespace that nobody uses, to see whether the kernel takes them before anything is touched. */
import { readlink } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { FAMILIES } from '../address.ts'
import { NOTHING_IN_FORCE } from '../ruleset/inforce.ts'
import type { Chain, Ruleset } from '../ruleset/model.ts'
import { makePlan, type Plan } from '../ruleset/plan.ts'
import { CommandFailed, hold, NOT_STARTED, run, TOO_LATE, type Finished, type Held } from './exec.ts'
import { restoreProgram, type Backend } from '../facts/backend.ts'

/**
 * The lock of iptables-legacy belongs to the machine, not to the namespace. A trial that held it would make pve-firewall's update
 * fail, which does not wait for it.
 */
const OWN_LOCK = { XTABLES_LOCKFILE: '/dev/null' }
const TRIAL_MS = 30_000
const MAX_TRIES = 200
const TRY_MS = 5

/** `untried`: this system lets us make no such namespace. */
export type Verdict = 'taken' | 'untried' | CommandFailed

/**
 * Tries the part of a ruleset that `plan` would change: chains that stay as they are, and members of sets that stay, are left
 * empty. `--test` of iptables-restore would not do: much is refused by the kernel only.
 */
export async function preflight(backend: Backend, ruleset: Ruleset, plan: Plan): Promise<Verdict> {
  const trial = makePlan(changedPart(ruleset, plan), NOTHING_IN_FORCE)
  const space = await holdNamespace()
  if (!space) return 'untried'
  const inside = (file: string, args: readonly string[], input: string): ReturnType<typeof run> =>
    run('nsenter', ['--target', String(space.holder.pid), ...space.enter, '--', file, ...args], input, {
      env: OWN_LOCK,
      timeoutMs: TRIAL_MS,
    })
  try {
    if (trial.sets !== '') {
      const verdict = verdictOf('ipset restore', await inside('ipset', ['restore'], trial.sets), trial.sets)
      if (verdict) return verdict
    }
    for (const family of FAMILIES) {
      if (trial.tables[family] === '') continue
      const file = restoreProgram(backend, family)
      const finished = await inside(file, ['--noflush', '--wait=5'], trial.tables[family])
      const verdict = verdictOf(file, finished, trial.tables[family])
      if (verdict) return verdict
    }
    return 'taken'
  } finally {
    space.holder.stop()
  }
}

interface Space {
  holder: Held
  /** What nsenter must enter. */
  enter: readonly string[]
}

/** A network namespace; with less power over the system, one inside a user namespace. */
async function holdNamespace(): Promise<Space | undefined> {
  const kinds = [
    { unshare: ['--net'], enter: ['--net'], apart: ['net'] },
    {
      unshare: ['--user', '--map-root-user', '--net'],
      enter: ['--user', '--net', '--preserve-credentials'],
      apart: ['user', 'net'],
    },
  ]
  for (const { unshare, enter, apart } of kinds) {
    const holder = await hold('unshare', [...unshare, 'sleep', '60'])
    if (!holder) continue
    if (await isApart(holder.pid, apart)) return { holder, enter }
    holder.stop()
  }
  return undefined
}

/** Entered a moment too early, the holder's namespaces would still be ours, and the trial would be for real. */
async function isApart(pid: number, names: readonly string[]): Promise<boolean> {
  const space = (process: string, name: string): Promise<string> =>
    readlink(`/proc/${process}/ns/${name}`).catch(() => '')
  const own = await Promise.all(names.map((name) => space('self', name)))
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const theirs = await Promise.all(names.map((name) => space(String(pid), name)))
    if (theirs.every((one, i) => one !== '' && one !== own[i])) return true
    await delay(TRY_MS)
  }
  return false
}

/**
 * Inside a user namespace a long message for nftables finds no room; that says nothing about the rules. Throws when the program
 * could not be started or did not end, which says nothing about them either.
 */
function verdictOf(file: string, finished: Finished, input: string): Verdict | undefined {
  if (finished.code === 0) return undefined
  if (finished.code === NOT_STARTED || finished.code === TOO_LATE)
    throw new CommandFailed(file, finished, input)
  return /Message too long|Operation not permitted/.test(finished.stderr)
    ? 'untried'
    : new CommandFailed(file, finished, input)
}

function changedPart({ chains, sets, loop }: Ruleset, { changes }: Plan): Ruleset {
  const changed = new Map(changes.map((change) => [`${change.what} ${change.family}`, change]))
  const reduce = (family: 4 | 6): Chain[] =>
    chains[family].map((chain) =>
      changed.has(`chain ${chain.name} ${family}`) ? chain : { ...chain, rules: [] },
    )
  return {
    chains: { 4: reduce(4), 6: reduce(6) },
    sets: sets.map((set) => ({ ...set, entries: changed.get(`set ${set.name} ${set.family}`)?.added ?? [] })),
    loop,
  }
}
