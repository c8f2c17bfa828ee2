/** The service's side of the reader: starts it, takes its frames, and replaces it when it is stuck or gone. */
import { hold, type Held } from './exec.ts'
import type { Paths } from './look.ts'
import { READER_COMMAND, type Frame } from './reader.ts'
import type { PveFiles, Unread } from './tree.ts'

/** The known state of /etc/pve. */
interface PveState {
  /** The last whole look; undefined before the first one. */
  files?: PveFiles
  /** Why it can be trusted no more just now. */
  unreadable?: string
  hasQuorum: boolean
}

export interface Link {
  state: () => PveState
  /** Asks for a round at once. */
  ask: () => void
  close: () => void
}

/** Time is counted in ticks, since a service that was busy has only itself to blame for unread frames. */
const TICK_MS = 500
/** Ticks without a sign of life after which a reader is stuck; before its first sign it may still be starting. */
const [MAX_SILENT, MAX_STARTING] = [5, 20]
/** Killed readers cannot end before the mount answers; with this many of them, the living reader is left to wait. */
const MAX_ABANDONED = 1
const [MIN_RESTART_MS, MAX_RESTART_MS] = [100, 30_000]

/** A file that does not answer keeps a thread; a thread costs some kilobytes. */
const ENVIRONMENT = { UV_THREADPOOL_SIZE: '64', MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '131072' }

/** `onNews` is called for each look that differs from the last. */
export function makeLink({ pveDir, node }: Pick<Paths, 'pveDir' | 'node'>, onNews: () => void): Link {
  let state: PveState = { hasQuorum: true }
  let reader: Held | undefined
  let generation = 0
  let silent = 0
  let patience = MAX_STARTING
  let abandoned = 0
  let restartMs = MIN_RESTART_MS
  let isClosed = false
  let timer: NodeJS.Timeout | undefined

  const tell = (next: PveState): void => {
    const isNews =
      next.files !== state.files || next.unreadable !== state.unreadable || next.hasQuorum !== state.hasQuorum
    state = next
    if (isNews) onNews()
  }
  const start = async (): Promise<void> => {
    const own = ++generation
    const isCurrent = (): boolean => own === generation && !isClosed
    ;[silent, patience] = [0, MAX_STARTING]
    const files = new Map<string, string | Unread>()
    let isChanged = true
    const take = (frame: Frame): void => {
      ;[silent, patience] = [0, MAX_SILENT]
      for (const [path, text] of frame.files ?? []) {
        isChanged = true
        if (text === null) files.delete(path)
        else files.set(path, text)
      }
      if (!frame.end) return
      restartMs = MIN_RESTART_MS
      if (frame.end.unreadable !== undefined) return tell({ ...state, unreadable: frame.end.unreadable })
      const whole = isChanged || !state.files ? new Map(files) : state.files
      isChanged = false
      tell({ files: whole, hasQuorum: frame.end.hasQuorum })
    }
    const [program = '', args] = [process.execPath, [...process.execArgv, process.argv[1] ?? '']]
    const onOutput = splitLines((line) => {
      if (isCurrent()) take(JSON.parse(line) as Frame)
    })
    const held = await hold(program, [...args, READER_COMMAND, pveDir, node], onOutput, ENVIRONMENT)
    if (!isCurrent()) return held?.stop()
    reader = held
    await held?.ended
    if (!isCurrent()) return
    reader = undefined
    timer = setTimeout(() => void start(), restartMs)
    restartMs = Math.min(MAX_RESTART_MS, restartMs * 2)
  }
  const tick = setInterval(() => {
    if (++silent < patience) return
    tell({ ...state, unreadable: `${pveDir} does not answer` })
    if (!reader || abandoned >= MAX_ABANDONED) return
    abandoned++
    void reader.ended.then(() => abandoned--)
    reader.stop()
    void start()
  }, TICK_MS)
  void start()
  return {
    state: () => state,
    ask: () => reader?.write('\n'),
    close() {
      isClosed = true
      clearInterval(tick)
      clearTimeout(timer)
      reader?.stop()
    },
  }
}

/** Hands on whole lines of a text that comes in pieces. */
function splitLines(onLine: (line: string) => void): (text: string) => void {
  let pieces: string[] = []
  return (text) => {
    const [first = '', ...lines] = text.split('\n')
    pieces.push(first)
    for (const next of lines) {
      onLine(pieces.join(''))
      pieces = [next]
    }
  }
}
