/** The service's journal: lines on stdout, with the priority that journald understands. */
import { worstFirst, type Severity } from '../diagnostic.ts'
import { guestOfFile } from '../nat/view.ts'
import { printable, type Located } from '../show/diagnostics.ts'
import { SYSLOG_LEVELS } from '../show/guilines.ts'
import { HOURLY_LINES, makeAllowance } from './allowance.ts'

export interface Journal {
  info: (message: string) => void
  warning: (message: string) => void
  error: (message: string) => void
}

function journalBy(say: (severity: Severity, message: string) => void): Journal {
  return {
    info: (text) => say('info', text),
    warning: (text) => say('warning', text),
    error: (text) => say('error', text),
  }
}

/** With priorities each line begins with one, as sd-daemon(3) has it: journald takes every line for itself. */
export function makeJournal(write: (text: string) => void, withPriorities: boolean): Journal {
  return journalBy((severity, message) => {
    const prefix = withPriorities ? `<${SYSLOG_LEVELS[severity]}>` : ''
    const [first = '', ...rest] = message.trimEnd().split('\n').map(printable)
    write([first, ...rest.map((line) => `  ${line}`)].map((line) => `${prefix}${line}\n`).join(''))
  })
}

/** The journal for lines that a guest's files cause (VMID 0: the node's files), within its allowance. */
type JournalOf = (vmid: number) => Journal

export function bounded(journal: Journal, now: () => number): JournalOf {
  const take = makeAllowance(HOURLY_LINES.journal)
  return (vmid) =>
    journalBy((severity, message) => {
      const allowed = take(vmid, now())
      if (allowed === 'line') journal[severity](message)
      if (allowed !== 'last') return
      const what = vmid === 0 ? 'the node' : `guest ${vmid}`
      journal.warning(`too many lines about ${what}: no more in this hour; pvenat check and pvenat list tell`)
    })
}

/** Lines that a person reads at once; errors come first. */
const MAX_SAID = 20

/** Writes each diagnostic once when it comes and once when it is gone. Returns the current ones, for the next call. */
export function sayDiagnostics(
  journalOf: JournalOf,
  before: ReadonlyMap<string, Located>,
  now: readonly Located[],
): Map<string, Located> {
  const after = byWords(now)
  const come = [...after].filter(([key]) => !before.has(key)).map(([, one]) => one)
  const gone = [...before].filter(([key]) => !after.has(key)).map(([, one]) => one)
  for (const one of come.sort(worstFirst).slice(0, MAX_SAID)) {
    const { file, line, severity, code, message, help } = one
    journalOf(guestOfFile(file))[severity](
      `${file}:${line}: ${severity}[${code}]: ${message}${help === undefined ? '' : ` (${help})`}`,
    )
  }
  if (come.length > MAX_SAID)
    journalOf(0).warning(`and ${come.length - MAX_SAID} more to look at: pvenat check`)
  for (const { file, line, code, message } of gone.slice(0, MAX_SAID))
    journalOf(guestOfFile(file)).info(`${file}:${line}: mended[${code}]: ${message}`)
  if (gone.length > MAX_SAID) journalOf(0).info(`and ${gone.length - MAX_SAID} more are mended`)
  return after
}

/** The line number is left out: it changes when lines above come and go. */
function byWords(all: readonly Located[]): Map<string, Located> {
  const byKey = new Map<string, Located>()
  const counts = new Map<string, number>()
  for (const one of all) {
    const words = `${one.file}: ${one.code} ${one.message}`
    const count = (counts.get(words) ?? 0) + 1
    counts.set(words, count)
    byKey.set(`${words} ${count}`, one)
  }
  return byKey
}
