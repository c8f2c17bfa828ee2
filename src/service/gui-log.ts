/** Writes the answer to a save into the firewall log, which the GUI shows (show/guilines.ts). Nothing else waits for it or fails with it. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Diagnostic } from '../diagnostic.ts'
import { HOURLY_LINES, makeAllowance } from './allowance.ts'
import { guestOfFile, type View } from '../nat/view.ts'
import type { RowChange } from '../show/changes.ts'
import type { Located } from '../show/diagnostics.ts'
import { linesOf, logLine, standing, wordsKey, type GuiLine, type Standing } from '../show/guilines.ts'

/** The file that pvefw-logger writes and pve-firewall's API reads. */
export const FIREWALL_LOG = '/var/log/pve-firewall.log'

/** Lines of one guest at once, so that the log stays readable. */
const MAX_AT_ONCE = 20

export interface GuiLog {
  /** At the end of a look that went well. */
  passed: (pass: { changes: readonly RowChange[]; diagnostics: readonly Diagnostic[]; view: View }) => void
  /** Resolves when everything is written that can be. */
  written: () => Promise<void>
}

interface Means {
  path: string
  now: () => Date
  /** Called once when the log cannot be written, and once when it can again. */
  tell: (message: string) => void
}

/** `published`: lines of a service before this one, which are not repeated. */
export function makeGuiLog({ path, now, tell }: Means, published: readonly Located[] = []): GuiLog {
  const append = makeAppender(path, tell)
  const spend = makeBudget()
  let before: Standing = new Map(published.map(publishedLine))
  return {
    passed({ changes, diagnostics, view }) {
      const after = standing(diagnostics, view)
      const lines = linesOf(changes, before, after, view, view.settings.guiLog)
      before = after
      const at = now()
      append.append(
        spend(lines, at)
          .map((line) => logLine(line, at))
          .join(''),
      )
    },
    written: append.written,
  }
}

function publishedLine({ file, severity, code, message }: Located): [key: string, line: GuiLine] {
  return [wordsKey(file, code, message), { vmid: guestOfFile(file), severity, text: code }]
}

/** Leaves out lines beyond the allowance of a guest, and says so once an hour. */
function makeBudget(): (lines: readonly GuiLine[], at: Date) => GuiLine[] {
  const take = makeAllowance(HOURLY_LINES.log)
  return (lines, at) => {
    const once = new Map<number, number>()
    return lines.flatMap((line): GuiLine[] => {
      const { vmid } = line
      const now = (once.get(vmid) ?? 0) + 1
      const allowed = now > MAX_AT_ONCE ? 'none' : take(vmid, at.getTime())
      if (allowed === 'none') return []
      once.set(vmid, now)
      if (allowed === 'last')
        return [{ ...line, severity: 'warning', text: 'too many lines: no more in this hour' }]
      if (now < MAX_AT_ONCE) return [line]
      return [{ ...line, severity: 'info', text: 'and more; the node shows all: pvenat check' }]
    })
  }
}

interface Appender {
  /** Without new lines it tries again to write the waiting ones. */
  append: (text: string) => void
  written: () => Promise<void>
}

/** Characters that wait for a full disk or a missing file; further lines are lost. */
const MAX_WAITING_CHARS = 64 * 1024

function makeAppender(path: string, tell: (message: string) => void): Appender {
  let waiting = ''
  let trouble = ''
  let writing: Promise<void> | undefined
  const write = async (): Promise<void> => {
    while (waiting !== '') {
      try {
        const written = await appendLines(path, waiting)
        // More lines may have come meanwhile.
        waiting = waiting.slice(written)
        if (trouble !== '') tell(`${path} can be written again`)
        trouble = ''
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        // Without a logger nobody looks for the log, and while logrotate makes a new file there is none.
        if (code === 'ENOENT') return
        const reason = code ?? message
        if (trouble !== reason)
          tell(`cannot write ${path}: ${reason}; the firewall log of the GUI misses lines`)
        trouble = reason
        return
      }
    }
  }
  return {
    append(text) {
      if (waiting.length + text.length <= MAX_WAITING_CHARS) waiting += text
      writing ??= write().finally(() => (writing = undefined))
    },
    written: async () => await writing,
  }
}

/**
 * Appends in one write; returns how many characters were written in whole lines. The file is opened anew each time, for logrotate moves
 * it, and never made: that is for the logger and logrotate, whose rights it has. A line that a full disk cut off is
 * ended first.
 */
async function appendLines(path: string, text: string): Promise<number> {
  const { O_RDWR, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants
  const file = await open(path, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK)
  try {
    const status = await file.stat()
    if (!status.isFile()) throw new Error('it is no file')
    const last = Buffer.alloc(1, '\n')
    if (status.size > 0) await file.read(last, 0, 1, status.size - 1)
    const bytes = Buffer.from(last.toString() === '\n' ? text : `\n${text}`)
    const { bytesWritten } = await file.write(bytes)
    if (bytesWritten === bytes.length) return text.length
    const whole = bytes
      .subarray(0, bytesWritten)
      .toString()
      .replace(/[^\n]*$/, '')
    if (whole.trim() === '') throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    return whole.replace(/^\n/, '').length
  } finally {
    await file.close()
  }
}
