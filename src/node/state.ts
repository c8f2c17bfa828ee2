/** What must survive a restart: sysctls as they were before pvenat switched them, and who had which port. Written by rename, root's alone. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

export interface State {
  version: 1
  /** Path below /proc/sys → the value before the first change. */
  sysctls: Record<string, string>
  /** Claims of guests that were in force last; they keep them against newcomers, over restarts. */
  incumbents: string[]
  /** External endpoints that were in force last, as `endpointLines` has them: flows to them may have to be ended. */
  endpoints: string[]
}

const EMPTY: State = { version: 1, sysctls: {}, incumbents: [], endpoints: [] }

/** The state; empty when there is none or it cannot be understood (it is then written anew at the next change). */
export async function readState(dir: string): Promise<State> {
  const text = await readFile(join(dir, 'state.json'), 'utf8').catch(() => '')
  try {
    const state = JSON.parse(text) as Partial<State>
    const isKnown =
      typeof state.sysctls === 'object' &&
      Array.isArray(state.incumbents ?? []) &&
      Array.isArray(state.endpoints ?? [])
    return isKnown ? { ...EMPTY, ...state } : EMPTY
  } catch {
    return EMPTY
  }
}

export async function writeState(dir: string, state: State): Promise<void> {
  await writeWhole(dir, 'state.json', JSON.stringify(state, null, 1) + '\n')
}

export async function removeState(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
}

/** Replaces a file of ours in one step: readers see the old or the new one. */
export async function writeWhole(dir: string, name: string, text: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const temporary = join(dir, `.${name}.${process.pid}`)
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(dir, name))
}
