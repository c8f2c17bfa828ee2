/** Loads text into an unused namespace first, to see whether the kernel takes it. */
import { readlink } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { FAMILIES, type Family } from '../address.ts'
import { restoreProgram, type Backend } from '../facts/backend.ts'
import { NOTHING_INSTALLED } from '../ruleset/installed.ts'
import type { Ruleset, WrittenChain } from '../ruleset/ruleset.ts'
import { makePlan, type Plan } from '../ruleset/plan.ts'
import { CommandFailed, hold, NOT_STARTED, run, TOO_LATE, type Finished, type Held } from './exec.ts'

/**
 * The lock of iptables-legacy belongs to the machine, not to the namespace. A trial that held it would make pve-firewall's update
 * fail, which does not wait for it.
 */
const OWN_LOCK = { XTABLES_LOCKFILE: '/dev/null' }
const TRIAL_MS = 30_000
const MAX_TRIES = 200
const TRY_MS = 5

/** A program that reads a part of a ruleset: the sets, or the rules of a family. */
export type Part = 'ipset' | Family

/** An unused namespace. */
export interface Trial {
  /**
   * The failure of a restore program with a text; undefined when it takes the text, or when the namespace causes the failure. A set that
   * is there already is taken.
   */
  restore: (part: Part, text: string) => Promise<CommandFailed | undefined>
  end: () => void
}

/** Undefined: this system lets us make no such namespace. */
export async function openTrial(backend: Backend): Promise<Trial | undefined> {
  const space = await holdNamespace()
  if (!space) return undefined
  const { holder, enter } = space
  return {
    async restore(part, text) {
      if (text === '') return undefined
      const [file, ...args] =
        part === 'ipset'
          ? ['ipset', '-exist', 'restore']
          : [restoreProgram(backend, part), '--noflush', '--wait=5']
      const inside = ['--target', String(holder.pid), ...enter, '--', file, ...args]
      const finished = await run('nsenter', inside, text, { env: OWN_LOCK, timeoutMs: TRIAL_MS })
      return failureOf(file, finished, text)
    },
    end: () => holder.stop(),
  }
}

/** Inside a user namespace a long message for nftables finds no room; that says nothing about the rules. */
function failureOf(file: string, finished: Finished, text: string): CommandFailed | undefined {
  const isTaken =
    finished.code === 0 || /Message too long|Operation not permitted/.test(finished.stderr.slice(0, 1000))
  return isTaken ? undefined : new CommandFailed(file, finished, text)
}

/**
 * Tries the part of a ruleset that a plan would change: chains that stay as they are, and members of sets that stay, are left
 * empty. `--test` of iptables-restore would not do: much is refused by the kernel only. Returns the refusal. Throws when a program
 * could not be started or did not end, which says nothing about rules; a missing ipset says that sets are refused.
 */
export async function tryPlan(
  open: () => Promise<Trial | undefined>,
  ruleset: Ruleset,
  plan: Plan,
): Promise<CommandFailed | undefined> {
  const { sets, tables } = makePlan(changedPart(ruleset, plan), NOTHING_INSTALLED)
  const trial = await open()
  try {
    let failure = await trial?.restore('ipset', sets)
    for (const family of FAMILIES) failure ??= await trial?.restore(family, tables[family])
    if (failure && (isMissing(failure) ? failure.command !== 'ipset' : failure.finished.code === TOO_LATE))
      throw failure
    return failure
  } finally {
    trial?.end()
  }
}

/** Whether a program is not there: nsenter says so by the same code as a shell. */
export function isMissing({ finished }: CommandFailed): boolean {
  return finished.code === NOT_STARTED
}

interface Space {
  holder: Held
  /** The namespaces that nsenter enters. */
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

function changedPart(ruleset: Ruleset, { changes }: Plan): Ruleset {
  const { chains, sets } = ruleset
  const changed = new Map(changes.map((change) => [`${change.what} ${change.family}`, change]))
  const reduce = (family: Family): WrittenChain[] =>
    chains[family].map((chain) =>
      changed.has(`chain ${chain.name} ${family}`) ? chain : { ...chain, rules: [], texts: [] },
    )
  return {
    ...ruleset,
    chains: { 4: reduce(4), 6: reduce(6) },
    sets: sets.map((set) => ({ ...set, entries: changed.get(`set ${set.name} ${set.family}`)?.added ?? [] })),
  }
}
