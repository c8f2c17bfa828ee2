/** The service as a process and as a systemd unit. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServiceState } from '../facts/node-facts.ts'
import { run } from './exec.ts'
import { writeWhole } from './state.ts'

const UNIT = 'pvenat.service'
const STOP_TIMEOUT_MS = 10_000
/** systemd itself gives a service 90 s to stop. */
const SYSTEMCTL_MS = 120_000

export async function writePid(runDir: string): Promise<void> {
  await writeWhole(runDir, 'pid', `${process.pid}\n`, 'group')
}

/** Stops the unit where systemd runs, and disables it or not; then any service that was started by hand. */
export async function stopService(
  runDir: string,
  how: 'stop' | 'disable',
  warn: (message: string) => void,
): Promise<void> {
  if (existsSync('/run/systemd/system') && (await run('systemctl', ['cat', UNIT])).code === 0) {
    const words = how === 'stop' ? ['stop'] : ['disable', '--now']
    const { code, stderr } = await run('systemctl', [...words, UNIT], '', { timeoutMs: SYSTEMCTL_MS })
    if (code !== 0) warn(`cannot stop ${UNIT}: ${stderr.trim()}`)
  }
  const pid = await servicePid(runDir)
  if (pid === undefined) return
  process.kill(pid, 'SIGTERM')
  const deadline = Date.now() + STOP_TIMEOUT_MS
  while (await isPvenat(pid, 'run')) {
    if (Date.now() > deadline) {
      warn(`process ${pid} does not end; killing it`)
      process.kill(pid, 'SIGKILL')
      return
    }
    await delay(20)
  }
}

/** Whether the service runs, and what systemd (where it runs) has been told about the next boot. */
export async function serviceState(runDir: string): Promise<ServiceState> {
  const running = await isServiceRunning(runDir)
  if (!existsSync('/run/systemd/system')) return { running }
  const { stdout } = await run('systemctl', ['is-enabled', UNIT])
  const enabled = stdout.trim()
  return enabled === '' || enabled === 'not-found' ? { running } : { running, enabled }
}

export async function isServiceRunning(runDir: string): Promise<boolean> {
  return (await servicePid(runDir)) !== undefined
}

async function servicePid(runDir: string): Promise<number | undefined> {
  const pid = Number(await readFile(join(runDir, 'pid'), 'utf8').catch(() => ''))
  return pid > 1 && (await isPvenat(pid, 'run')) ? pid : undefined
}

/** Whether a process is this command of pvenat and not another program that got its number later. */
export async function isPvenat(pid: number, command: string): Promise<boolean> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
  return words.some((word) => /(^|\/)pvenat(\.cjs)?$/.test(word)) && words.includes(command)
}
