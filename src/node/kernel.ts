/** The port to the kernel: reads the installed rules and writes plans, through one of the two iptables backends. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { FAMILIES, type Family } from '../address.ts'
import { parseSave, parseSets, type Installed } from '../ruleset/installed.ts'
import { OWN_SET } from '../ruleset/ruleset.ts'
import type { Plan } from '../ruleset/plan.ts'
import { restoreProgram, type Backend } from '../facts/backend.ts'
import { savedBy } from './backend.ts'
import { hasBridgeZone, setBridgeZone } from './bridge-zone.ts'
import { realConntrack, type Conntrack } from './conntrack.ts'
import { CommandFailed, must, NOT_STARTED, run } from './exec.ts'
import { hasLoop, setLoop } from './hairpin-interfaces.ts'
import { openTrial, type Trial } from './preflight.ts'
import { addRouting, readRouting, removeRouting } from './routing.ts'

/** pve-firewall's own lock: held by us too, its restores (which do not wait for xtables.lock) cannot fail because of ours. */
const PVEFW_LOCK = '/run/lock/pvefw.lck'
const LOCK_WAIT_SECONDS = 3
const LOCK_TIMEOUT_CODE = 75

export interface Kernel extends Conntrack {
  /** `before`: the last reading, of which most still holds. */
  read: (before?: Installed) => Promise<Installed>
  /**
   * Returns for how many milliseconds pve-firewall's lock was held, the longest time of several. Throws RoutingRefused before any rule
   * is written when the kernel does not take all routing rules and routes.
   */
  write: (plan: Plan) => Promise<number>
  /** A place to try whether the kernel takes rules; undefined where this system has none. */
  openTrial: () => Promise<Trial | undefined>
  /** The value of a sysctl by its path below /proc/sys, undefined when it does not exist. */
  sysctl: (path: string) => Promise<string | undefined>
  setSysctl: (path: string, value: string) => Promise<void>
  /** Whether the loop is there for these families; with none, whether anything of it is. */
  hasLoop: (families: readonly Family[]) => Promise<boolean>
  /** Whether table bridge pvenat is there; undefined if that cannot be learnt now. */
  hasBridgeZone: () => Promise<boolean | undefined>
  setBridgeZone: (isWanted: boolean) => Promise<void>
  /** Makes the loop for these families; with none it is taken away. */
  setLoop: (families: readonly Family[]) => Promise<void>
}

/** A kernel that is compared again and again. */
export interface WatchedKernel extends Kernel {
  /** The rules of each family without counters, as text: to see cheaply whether anything changed. */
  glance: () => Promise<Record<Family, string>>
}

/** The real kernel of this network namespace. `warn` gets faults that stop nothing. */
export function realKernel(backend: Backend, warn: (message: string) => void): WatchedKernel {
  return {
    read: (before) => readKernel(backend, before),
    glance: () => glance(backend),
    write: (plan) => writeKernel(backend, plan, warn),
    openTrial: () => openTrial(backend),
    sysctl: (path) => Promise.resolve(readSysctl(path)),
    setSysctl: (path, value) => writeFile(`/proc/sys/${path}`, value),
    hasBridgeZone,
    setBridgeZone,
    hasLoop,
    setLoop,
    ...realConntrack,
  }
}

async function readKernel(backend: Backend, before?: Installed): Promise<Installed> {
  const [sets, saved, routing4, routing6] = await Promise.all([
    saveSets(),
    savedBy(backend, (program) => must(program, ['-c'])),
    readRouting(4),
    readRouting(6),
  ])
  const chains = { 4: parseSave(saved[4], before?.chains[4]), 6: parseSave(saved[6], before?.chains[6]) }
  return { chains, sets: parseSets(sets), routing: { 4: routing4, 6: routing6 } }
}

/** Dates, and counters of policies, differ each time. */
async function glance(backend: Backend): Promise<Record<Family, string>> {
  const { 4: v4, 6: v6 } = await savedBy(backend, (program) => must(program, []))
  const constant = (text: string): string => {
    const lines = text.split('\n').filter((line) => !line.startsWith('#'))
    return lines.map((line) => (line.startsWith(':') ? line.slice(0, line.indexOf(' [')) : line)).join('\n')
  }
  return { 4: constant(v4), 6: constant(v6) }
}

/**
 * Own sets by name: to save them all would keep pve-firewall from swapping its own for that long (EBUSY), and its update would fail.
 */
async function saveSets(): Promise<string> {
  const listed = await run('ipset', ['list', '-n'])
  // Without ipset there are no sets; rules that need one are then left out (find-refused.ts).
  if (listed.code === NOT_STARTED) return ''
  if (listed.code !== 0) throw new CommandFailed('ipset list -n', listed, '')
  const names = listed.stdout.split('\n').filter((name) => OWN_SET.test(name))
  return names.length === 0 ? '' : must('ipset', ['restore'], names.map((name) => `save ${name}\n`).join(''))
}

async function writeKernel(backend: Backend, plan: Plan, warn: (message: string) => void): Promise<number> {
  for (const family of FAMILIES) await addRouting(family, plan.routing[family])
  if (plan.sets !== '') await must('ipset', ['restore'], plan.sets)
  let lockMs: number | undefined = 0
  for (const family of FAMILIES) {
    if (plan.tables[family] === '') continue
    const heldMs = await restore(restoreProgram(backend, family), plan.tables[family], warn)
    lockMs = lockMs === undefined || heldMs === undefined ? undefined : Math.max(lockMs, heldMs)
  }
  // Under the lock if it can be had: an iptables-save of pve-firewall's update fails when a set goes whose rules it has just read.
  const [file, ...args] = lockMs === undefined ? ['ipset'] : ['flock', ...LOCKED, 'ipset']
  for (const name of plan.staleSets) {
    const { code, stderr } = await run(file, [...args, 'destroy', name])
    const reason = code === LOCK_TIMEOUT_CODE ? `${PVEFW_LOCK} is held` : stderr.trim()
    if (code !== 0) warn(`set ${name} is not needed any more but cannot be destroyed: ${reason}`)
  }
  for (const family of FAMILIES) await removeRouting(family, plan.routing[family])
  return lockMs ?? 0
}

/** Without a fork: killing a program that hangs kills flock, and frees the lock. */
const LOCKED = [
  '--verbose',
  '--no-fork',
  '-w',
  String(LOCK_WAIT_SECONDS),
  '-E',
  String(LOCK_TIMEOUT_CODE),
  PVEFW_LOCK,
]

/**
 * One restore under both locks, held for the write only. Without pvefw.lck after 3 s it goes on: NAT matters more. Returns for
 * how many milliseconds pvefw.lck was held, the start of the program included; undefined when it could not be had.
 */
async function restore(
  file: string,
  text: string,
  warn: (message: string) => void,
): Promise<number | undefined> {
  const args = ['--noflush', '--counters', '--wait=5']
  const start = performance.now()
  const finished = await run('flock', [...LOCKED, file, ...args], text)
  const tookMs = performance.now() - start
  // The words of flock --verbose.
  const waitedSeconds = Number(/getting lock took ([\d.]+) seconds/.exec(finished.stdout)?.[1] ?? 0)
  if (finished.code === 0) return Math.max(0, tookMs - waitedSeconds * 1000)
  if (finished.code !== LOCK_TIMEOUT_CODE) throw new CommandFailed(file, finished, text)
  warn(`${PVEFW_LOCK} was held for more than ${LOCK_WAIT_SECONDS} s; writing without it`)
  await must(file, args, text)
  return undefined
}

/** At once: it is asked for each second, and made up in memory. */
function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim()
  } catch {
    return undefined
  }
}
