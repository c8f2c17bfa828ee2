/** `rollback`: removes every trace. Needs neither a readable /etc/pve nor settings that make sense. */
import { rm } from 'node:fs/promises'
import { currentBackend } from '../node/backend.ts'
import { hasLoop, setLoop } from '../node/loop.ts'
import { planRollback, restoreSysctls, rollbackKernel } from '../node/rollback.ts'
import { removeState } from '../node/state.ts'
import { stopService } from '../node/unit.ts'
import { renderChanges } from '../show/plan.ts'
import { dotted } from '../sysctls.ts'
import type { Context } from './context.ts'

export async function rollbackCommand({ io, paths, values }: Context): Promise<number> {
  const dryRun = values['dry-run'] === true
  const warn = (message: string): void => io.stderr(`pvenat: ${message}\n`)
  if (!dryRun) await stopService(paths.runDir, values['keep-unit'] === true ? 'stop' : 'disable', warn)
  const current = await currentBackend()
  let failed = false
  const removals = await planRollback(current, (backend, { message }) => {
    warn(`cannot see what is in force in the ${backend} backend: ${message}`)
    failed ||= backend === current
  })
  const loop = await hasLoop([])
  const text = removals.map(({ backend, plan }) => `${backend}:\n${renderChanges(plan.changes)}`).join('')
  if (!dryRun) await rollbackKernel(removals, warn)
  if (!dryRun && loop) await setLoop([])
  const sysctls = await restoreSysctls(paths.stateDir, dryRun)
  const switched = [...sysctls].map(([path, value]) => `${dotted(path)} = ${value}\n`).join('')
  // What sysctls were is still needed when the rest can be removed, too.
  if (!dryRun && !failed) {
    await removeState(paths.stateDir)
    await rm(paths.runDir, { recursive: true, force: true })
  }
  const said = text + (loop ? 'removed interfaces pvenat0 and pvenat1\n' : '') + switched
  io.stdout(said === '' && !failed ? 'nothing of pvenat is in force\n' : said)
  return failed ? 1 : 0
}
