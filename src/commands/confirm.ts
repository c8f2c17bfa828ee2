/** `apply --confirm` and `confirm`: a change from afar that is taken back unless somebody says in time that all is well. */
import { readFile, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { apply, type Applied } from '../node/apply.ts'
import type { Kernel } from '../node/kernel.ts'
import type { Looked, Paths } from '../node/look.ts'
import { STATE_FILES, writeWhole } from '../node/state.ts'
import { CONFIRMATION, takeUnconfirmed, unconfirmedPid } from '../node/unconfirmed.ts'
import { isServiceRunning } from '../node/unit.ts'
import { makeUndo } from '../ruleset/plan.ts'
import { askWithin, hearSignals, type Answer } from './ask.ts'
import type { Context } from './context.ts'

/**
 * Applies, asks, and takes the change back unless the answer is yes: from the terminal or by `pvenat confirm`. Returns undefined
 * when it was taken back. A signal, or an apply that fails, takes it back, too.
 */
export async function applyUnlessUnconfirmed(
  looked: Looked,
  kernel: Kernel,
  seconds: number,
  { io, paths }: Context,
  warn: (message: string) => void,
): Promise<Applied | undefined> {
  if (await isServiceRunning(paths.runDir))
    throw new Error('the service applies every change by itself; stop it first: systemctl stop pvenat')
  if ((await unconfirmedPid(paths.runDir)) !== undefined)
    throw new Error('another apply --confirm waits for its answer')
  const stopped = hearSignals()
  const { watched, takeBack } = await rememberBefore(kernel, paths)
  let answer: Answer
  try {
    const applied = await apply(looked, watched, paths.stateDir, warn)
    answer = await askWithin(seconds, io, paths.runDir, stopped)
    if (answer === 'kept') return applied
  } catch (error) {
    await takeBack()
    io.stderr('the change failed; what was in force before is in force again\n')
    throw error
  }
  // It has applied the same change by now, and would do so again.
  if (await isServiceRunning(paths.runDir))
    io.stderr(`${answer}, but the service runs and keeps the change in force\n`)
  else {
    await takeBack()
    io.stderr(`${answer}; what was in force before is in force again\n`)
  }
  return undefined
}

/** What takes back all that goes through `watched`, and what the state folder then holds. */
async function rememberBefore(
  kernel: Kernel,
  { stateDir }: Paths,
): Promise<{ watched: Kernel; takeBack: () => Promise<void> }> {
  const before = await kernel.read()
  const hadLoop = await kernel.hasLoop([])
  const hadZone = await kernel.hasBridgeZone()
  const files = await Promise.all(
    STATE_FILES.map(async (name) => ({
      name,
      text: await readFile(join(stateDir, name), 'utf8').catch(() => undefined),
    })),
  )
  const olds = new Map<string, string>()
  const watched: Kernel = {
    ...kernel,
    setSysctl: async (path, value) => {
      olds.set(path, (await kernel.sysctl(path)) ?? value)
      await kernel.setSysctl(path, value)
    },
  }
  const takeBack = async (): Promise<void> => {
    await kernel.write(makeUndo(before, await kernel.read()))
    if (!hadLoop) await kernel.setLoop([])
    if (hadZone !== undefined && (await kernel.hasBridgeZone()) !== hadZone)
      await kernel.setBridgeZone(hadZone)
    for (const [path, value] of olds) await kernel.setSysctl(path, value)
    for (const { name, text } of files)
      await (text === undefined
        ? rm(join(stateDir, name), { force: true })
        : writeWhole(stateDir, name, text))
    // Only if it was made for the change.
    if (files.every(({ text }) => text === undefined)) await rmdir(stateDir).catch(() => undefined)
  }
  return { watched, takeBack }
}

/** Keeps the change of the `apply --confirm` that waits, and wakes it. */
export async function confirmCommand({ io, paths }: Context): Promise<number> {
  const pid = await unconfirmedPid(paths.runDir)
  if (pid === undefined || !(await takeUnconfirmed(paths.runDir))) {
    io.stderr('pvenat: no change waits for a confirmation\n')
    return 1
  }
  process.kill(pid, CONFIRMATION)
  io.stdout('confirmed\n')
  return 0
}
