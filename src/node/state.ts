/** What must survive a restart: sysctls as they were before pvenat switched them, and who had which port. Written by rename, root's alone. */
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from './tree.ts'

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

/**
 * The state; empty when there is none. One that cannot be understood is said to `warn`, and written anew at the next change:
 * who had which port is then forgotten, and so is what sysctls were. Throws Unreadable where it cannot be read for the moment.
 */
export async function readState(
  dir: string,
  warn: (message: string) => void = () => undefined,
): Promise<State> {
  const file = join(dir, 'state.json')
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    // One that may well be there: nobody's port is given away for that.
    const code = codeOf(file, error)
    // Whoever only looks need not be root.
    if (code !== 'ENOENT' && code !== 'EACCES')
      warn(`cannot read ${file}: ${code}; who had which port is forgotten`)
    return EMPTY
  }
  const state = parseState(text)
  if (!state) warn(`${file} makes no sense; who had which port, and what sysctls were, is forgotten`)
  return state ?? EMPTY
}

function parseState(text: string): State | undefined {
  try {
    const { sysctls = {}, incumbents = [], endpoints = [] } = JSON.parse(text) as Partial<State>
    const isList = (list: unknown): boolean =>
      Array.isArray(list) && list.every((line) => typeof line === 'string')
    const isMap =
      typeof sysctls === 'object' && Object.values(sysctls ?? {}).every((value) => typeof value === 'string')
    return isMap && isList(incumbents) && isList(endpoints)
      ? { version: 1, sysctls, incumbents, endpoints }
      : undefined
  } catch {
    return undefined
  }
}

export async function writeState(dir: string, state: State): Promise<void> {
  await writeWhole(dir, 'state.json', JSON.stringify(state, null, 1) + '\n')
}

/** Every file that pvenat keeps in the state folder. */
export const STATE_FILES: readonly string[] = ['state.json', 'inforce.json']

/** Who may read a file of ours and look into its folder: root alone, or also the group of the folder. */
type Readers = 'root' | 'group'

/** Replaces a file of ours in one step: readers see the old or the new one. A folder that is there keeps its mode. */
export async function writeWhole(
  dir: string,
  name: string,
  text: string,
  readers: Readers = 'root',
): Promise<void> {
  await mkdir(dir, { recursive: true, mode: readers === 'root' ? 0o700 : 0o750 })
  const temporary = join(dir, `.${name}.${process.pid}`)
  const file = await open(temporary, 'w', 0o600)
  try {
    // Whatever the umask is.
    if (readers === 'group') await file.chmod(0o640)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(dir, name))
}
