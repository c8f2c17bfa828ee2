/** Files that other programs read, each replaced in one step. Nothing waits until they are written. */
import { closeSync, openSync } from 'node:fs'
import { RECALL_FILE } from '../node/recall.ts'
import { writeWhole } from '../node/state.ts'
import { UNCONFIRMED_FILE } from '../node/unconfirmed.ts'
import { SOCKET } from '../node/asking.ts'
import { BLOCKS_FILE, FILES, RIGHTS_FILE } from '../node/published.ts'

/** Pause before a file that could not be written is tried again. */
const AGAIN_MS = 700

/** Every file that the service and the commands keep in the run folder. */
export const RUN_FILES: readonly string[] = [
  'pid',
  RECALL_FILE,
  RIGHTS_FILE,
  ...Object.values(FILES),
  BLOCKS_FILE,
  SOCKET,
  UNCONFIRMED_FILE,
]

export interface RunFolder {
  write: (name: string, text: string) => void
  /** Resolves when all that can be written is. */
  written: () => Promise<void>
}

/** Writes files one after the other, and tries again each failed one; `warn` is called once. */
export function makeRunFolder(runDir: string, warn: (message: string) => void): RunFolder {
  const unwritten = new Map<string, string>()
  let last = Promise.resolve()
  let warned: string | undefined
  let again: NodeJS.Timeout | undefined
  const spare = makeSpare()
  const tryOne = async (name: string, text: string): Promise<NodeJS.ErrnoException | undefined> => {
    const write = (): Promise<void> => writeWhole(runDir, name, text, 'group')
    try {
      await write().catch((error: unknown) => spare(error as NodeJS.ErrnoException, write))
    } catch (error) {
      return error as NodeJS.ErrnoException
    }
    if (unwritten.get(name) === text) unwritten.delete(name)
    return undefined
  }
  /** A file that is too large for a full disk keeps no other from being written. */
  const writeAll = async (): Promise<void> => {
    let failure: NodeJS.ErrnoException | undefined
    for (const [name, text] of unwritten) failure = (await tryOne(name, text)) ?? failure
    const kind = failure && (failure.code ?? failure.message)
    if (failure && kind !== warned) warn(`cannot write into ${runDir}: ${failure.message}`)
    warned = kind
    clearTimeout(again)
    if (failure) again = setTimeout(write, AGAIN_MS).unref()
  }
  const write = (): void => void (last = last.then(writeAll))
  return {
    write(name, text) {
      unwritten.set(name, text)
      write()
    },
    written: () => last,
  }
}

type Spare = (error: NodeJS.ErrnoException, write: () => Promise<void>) => Promise<void>

/** Keeps one file descriptor in reserve, so that the lack of file descriptors can be reported. */
function makeSpare(): Spare {
  const hold = (): number | undefined => {
    try {
      return openSync('/dev/null', 'r')
    } catch {
      return undefined
    }
  }
  let held = hold()
  return async (error, write) => {
    if (error.code !== 'EMFILE') throw error
    held ??= hold()
    if (held === undefined) throw error
    closeSync(held)
    try {
      await write()
    } finally {
      held = hold()
    }
  }
}
