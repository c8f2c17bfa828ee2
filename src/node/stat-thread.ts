/** The states of many files, asked for one after the other in a thread of its own. */
import { once } from 'node:events'
import type { Stats } from 'node:fs'
import { Worker } from 'node:worker_threads'

export type FileState = Pick<Stats, 'ino' | 'size' | 'mtimeMs' | 'ctimeMs' | 'mode'>

/** The states by path: undefined for a missing file, no entry for one that could not be asked about. */
export type StatAll = (paths: readonly string[]) => Promise<Map<string, FileState | undefined>>

const PROGRAM = `
const { lstatSync } = require('node:fs')
const { parentPort } = require('node:worker_threads')
function stateOf(path) {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (!stats) return [[path, undefined]]
    const { ino, size, mtimeMs, ctimeMs, mode } = stats
    return [[path, { ino, size, mtimeMs, ctimeMs, mode }]]
  } catch {
    return []
  }
}
parentPort.on('message', (paths) => parentPort.postMessage(new Map(paths.flatMap(stateOf))))
`

/**
 * Starts the thread. A file costs a third of what it costs through the thread pool of Node.js, and no timer. One file that hangs hangs them all, so
 * the caller sets a time limit, and asks nothing more while a question is open.
 */
export function startStatThread(): StatAll {
  const thread = new Worker(PROGRAM, { eval: true })
  thread.unref()
  return async (paths) => {
    const answer = once(thread, 'message')
    thread.postMessage(paths)
    const [states] = (await answer) as [Map<string, FileState | undefined>]
    return states
  }
}
