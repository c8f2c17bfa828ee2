/** The process that waits for `pvenat confirm`: its number stands in the run folder, and a signal is the confirmation. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeWhole } from './state.ts'
import { isPvenat } from './unit.ts'

export const UNCONFIRMED_FILE = 'unconfirmed'
export const CONFIRMATION = 'SIGUSR2'

export async function writeUnconfirmed(runDir: string): Promise<void> {
  await writeWhole(runDir, UNCONFIRMED_FILE, `${process.pid}\n`)
}

export async function removeUnconfirmed(runDir: string): Promise<void> {
  await rm(join(runDir, UNCONFIRMED_FILE), { force: true })
}

/** The number of the process that waits; undefined when none does. */
export async function unconfirmedPid(runDir: string): Promise<number | undefined> {
  const pid = Number(await readFile(join(runDir, UNCONFIRMED_FILE), 'utf8').catch(() => ''))
  return pid > 1 && (await isPvenat(pid, 'apply')) ? pid : undefined
}
