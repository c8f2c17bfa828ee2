/** CPU time and memory of a process and all that it started, as the kernel accounts for them. */
import { readdir, readFile } from 'node:fs/promises'

/** What the kernel counts CPU time in for /proc, on all architectures of Debian. */
const TICKS_A_SECOND = 100
const KIB_A_MB = 1000 ** 2 / 1024

export interface Usage {
  /** Of the process, of its children that live, and of those that have ended. */
  cpuSeconds: number
  /** Of the process and its children that live. */
  residentMb: number
}

export async function usageOf(pid: number): Promise<Usage> {
  const processes = await family(pid)
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0)
  return {
    cpuSeconds: sum(processes.map(({ ticks }) => ticks)) / TICKS_A_SECOND,
    residentMb: sum(await Promise.all(processes.map((one) => residentKib(one.pid)))) / KIB_A_MB,
  }
}

/** The process of a family whose command line has that word; throws where there is none. */
export async function memberOf(pid: number, word: string): Promise<number> {
  for (const one of await family(pid)) {
    const words = (await readFile(`/proc/${one.pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    if (words.includes(word)) return one.pid
  }
  throw new Error(`no process of ${pid} runs ${word}`)
}

interface Process {
  pid: number
  parent: number
  ticks: number
}

async function family(pid: number): Promise<Process[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const all = (await Promise.all(names.map(readProcess))).filter((one) => one !== undefined)
  const found = new Set([pid])
  // Children have been started after their parents, but numbers wrap.
  for (let before = 0; before !== found.size;) {
    before = found.size
    for (const one of all) if (found.has(one.parent)) found.add(one.pid)
  }
  return all.filter((one) => found.has(one.pid))
}

/** See proc_pid_stat(5): the name in brackets may hold anything. */
async function readProcess(name: string): Promise<Process | undefined> {
  const text = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  if (fields.length < 15) return undefined
  const [parent = 0, ...ticks] = [1, 11, 12, 13, 14].map((i) => Number(fields[i]))
  return { pid: Number(name), parent, ticks: ticks.reduce((sum, one) => sum + one, 0) }
}

async function residentKib(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Number(/^VmRSS:\s*(\d+)/m.exec(text)?.[1] ?? 0)
}
