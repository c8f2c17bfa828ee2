/** Finds the program that undoes repairs. Only used while repairs are undone: it looks every few milliseconds. */
import { readFile, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Backend } from '../facts/backend.ts'
import { hold, isOwn } from './exec.ts'

const LOCK = '/run/xtables.lock'
const SAMPLE_MS = 3

/** The next foreign writer within a time, as `NAME, process PID, started by NAME`; undefined when none shows itself. */
export async function findWriter(backend: Backend, withinMs: number): Promise<string | undefined> {
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(), withinMs)
  const writer = await (backend === 'nft' ? nextGeneration(end.signal) : nextHolder(end.signal))
  clearTimeout(timer)
  end.abort()
  return writer
}

/** nftables says of each change by which process it was made. */
async function nextGeneration(end: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const hear = (text: string): void => {
      for (const line of text.split('\n')) {
        const [, pid, name = ''] = /^# new generation \d+ by process (\d+) \((.*)\)$/.exec(line) ?? []
        if (pid !== undefined && !isOwn(Number(pid))) void tell(Number(pid), name).then(resolve)
      }
    }
    void hold('nft', ['monitor'], hear).then((monitor) => {
      const stop = (): void => {
        monitor?.stop()
        resolve(undefined)
      }
      if (end.aborted || !monitor) stop()
      else end.addEventListener('abort', stop)
    })
  })
}

/** Each writer of legacy tables holds the lock for a moment. */
async function nextHolder(end: AbortSignal): Promise<string | undefined> {
  const inode = await stat(LOCK).then(
    ({ ino }) => ino,
    () => undefined,
  )
  if (inode === undefined) return undefined
  const holder = new RegExp(`FLOCK .* WRITE (\\d+) \\w+:\\w+:${inode} `, 'g')
  while (!end.aborted) {
    const locks = await readFile('/proc/locks', 'utf8').catch(() => '')
    const pid = [...locks.matchAll(holder)].map(([, one]) => Number(one)).find((one) => !isOwn(one))
    if (pid !== undefined) return tell(pid, await nameOf(pid))
    await delay(SAMPLE_MS)
  }
  return undefined
}

/** A process may call itself anything. */
async function tell(pid: number, name: string): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const line = status.split('\n').find((one) => one.startsWith('PPid:')) ?? ''
  const parent = Number(line.slice('PPid:'.length))
  const by = parent > 1 ? `, started by ${await nameOf(parent)}` : ''
  return `${name === '' ? '' : `${name}, `}process ${pid}${by}`.replace(/[^ -~]/g, '?')
}

async function nameOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
}
