/** The stamps of many files, taken one after the other in a thread of its own. */
import { once } from 'node:events'
import { constants } from 'node:fs'
import { Worker } from 'node:worker_threads'

/** A line for each path: its stamp, as `stampOf` (files.ts) makes it; empty where it is no plain file, or could not be asked about. */
export type StampAll = (paths: readonly string[]) => Promise<string>

const PROGRAM = `
const { lstatSync } = require('node:fs')
const { parentPort } = require('node:worker_threads')
function stampOf(path) {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (!stats) return 'missing'
    const { ino, size, mtimeMs, ctimeMs, mode } = stats
    return (mode & ${constants.S_IFMT}) === ${constants.S_IFREG} ? ino + ' ' + size + ' ' + mtimeMs + ' ' + ctimeMs + ' ' + mode : ''
  } catch {
    return ''
  }
}
parentPort.on('message', (paths) => parentPort.postMessage(paths.map(stampOf).join('\\n')))
`

/**
 * Starts the thread. A file costs a third of what it costs through the thread pool of Node.js, and no timer. One file that hangs hangs them all, so
 * the caller sets a time limit, and asks nothing more while a question is open.
 */
export function startStatThread(): StampAll {
  const thread = new Worker(PROGRAM, { eval: true })
  thread.unref()
  return async (paths) => {
    const answer = once(thread, 'message')
    thread.postMessage(paths)
    const [stamps] = (await answer) as [string]
    return stamps
  }
}
