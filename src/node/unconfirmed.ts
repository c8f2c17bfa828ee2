/**
 * A change that waits for `pvenat confirm`: the number of its process stands in a file of the run folder. Who takes the file away has
 * decided: `confirm` that the change stays, the process itself otherwise. The signal only wakes the process.
 */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeWhole } from './state.ts'
import { isPvenat } from './unit.ts'

export const UNCONFIRMED_FILE = 'unconfirmed'
export const CONFIRMATION = 'SIGUSR2'

export async function writeUnconfirmed(runDir: string): Promise<void> {
  await writeWhole(runDir, UNCONFIRMED_FILE, `${process.pid}\n`)
}

/** Takes the file away; false when it is gone already. */
export async function takeUnconfirmed(runDir: string): Promise<boolean> {
  return rm(join(runDir, UNCONFIRMED_FILE)).then(() => true, orMissing(false))
}

/** The commands that take `--confirm`. */
const WAITING = ['apply', 'import']

/** The number of the process that waits; undefined when none does. */
export async function unconfirmedPid(runDir: string): Promise<number | undefined> {
  const pid = Number(await readFile(join(runDir, UNCONFIRMED_FILE), 'utf8').catch(orMissing('')))
  if (pid > 1) for (const command of WAITING) if (await isPvenat(pid, command)) return pid
  return undefined
}

function orMissing<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT') return value
    throw error
  }
}
