/** `apply --confirm` and `confirm`: a change from afar that takes itself back unless somebody can still say that it is well. */
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { apply, type Applied } from '../node/apply.ts'
import type { Kernel } from '../node/kernel.ts'
import type { Looked, Paths } from '../node/look.ts'
import { writeWhole } from '../node/state.ts'
import { isServiceRunning } from '../node/unit.ts'
import { makeUndo } from '../ruleset/plan.ts'
import type { Context } from './context.ts'

const LOOK_MS = 100

/** Applies, waits for `pvenat confirm`, and puts back what was in force if it does not come. Returns undefined then. */
export async function applyUnlessUnconfirmed(
  looked: Looked,
  kernel: Kernel,
  seconds: number,
  { io, paths }: Context,
  warn: (message: string) => void,
): Promise<Applied | undefined> {
  if (await isServiceRunning(paths.runDir)) {
    throw new Error('the service applies every change by itself; stop it first: systemctl stop pvenat')
  }
  // The terminal may be the first thing that the change takes away.
  process.on('SIGHUP', () => undefined)
  await rm(confirmation(paths), { force: true })
  const before = await kernel.read()
  const hadLoop = await kernel.hasLoop([])
  const olds = new Map<string, string>()
  const watched: Kernel = {
    ...kernel,
    setSysctl: async (path, value) => {
      olds.set(path, (await kernel.sysctl(path)) ?? value)
      await kernel.setSysctl(path, value)
    },
  }
  const applied = await apply(looked, watched, paths.stateDir, warn)
  io.stderr(`in force for ${seconds} s; to keep it run: pvenat confirm\n`)
  if (await isConfirmed(paths, seconds)) return applied
  await kernel.write(makeUndo(before, await kernel.read()))
  if (!hadLoop) await kernel.setLoop([])
  for (const [path, value] of olds) await kernel.setSysctl(path, value)
  io.stderr('not confirmed; what was in force before is in force again\n')
  return undefined
}

export async function confirmCommand({ io, paths }: Context): Promise<number> {
  await writeWhole(paths.runDir, 'confirmed', '')
  io.stdout('confirmed\n')
  return 0
}

const confirmation = ({ runDir }: Paths): string => join(runDir, 'confirmed')

async function isConfirmed(paths: Paths, seconds: number): Promise<boolean> {
  const deadline = Date.now() + seconds * 1000
  while (Date.now() < deadline) {
    if (await stat(confirmation(paths)).catch(() => undefined)) {
      await rm(confirmation(paths), { force: true })
      return true
    }
    await delay(LOOK_MS)
  }
  return false
}
