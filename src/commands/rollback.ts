/** `rollback`: removes every trace. Needs neither a readable /etc/pve nor settings that make sense. */
import { currentBackend } from '../node/backend.ts'
import { hasBridgeZone, setBridgeZone } from '../node/bridge-zone.ts'
import { explainFailure } from '../node/failure.ts'
import { hasLoop, setLoop } from '../node/hairpin-interfaces.ts'
import { removeFolder } from '../node/folders.ts'
import { planRollback, restoreSysctls, rollbackKernel } from '../node/rollback.ts'
import { STATE_FILES } from '../node/state.ts'
import { unconfirmedPid } from '../node/unconfirmed.ts'
import { isServiceRunning, stopService } from '../node/unit.ts'
import { RUN_FILES } from '../service/runfolder.ts'
import { renderChanges } from '../show/plan.ts'
import { dotted } from '../sysctls.ts'
import type { Context } from './context.ts'

export async function rollbackCommand({ io, paths, values }: Context): Promise<number> {
  const dryRun = values['dry-run'] === true
  const warn = (message: string): void => io.stderr(`pvenat: ${message}\n`)
  let failed = false
  /** One step; the others are taken although it fails. */
  const attempt = async (step: () => Promise<unknown>): Promise<void> => {
    await step().catch((error: unknown) => {
      io.stderr(explainFailure(error))
      failed = true
    })
  }
  const removed = dryRun ? 'would remove' : 'removed'
  const said: string[] = []

  if (dryRun && (await isServiceRunning(paths.runDir))) said.push('would stop the service\n')
  if (!dryRun)
    await attempt(() => stopService(paths.runDir, values['keep-unit'] === true ? 'stop' : 'disable', warn))
  await attempt(async () => {
    const waiting = await unconfirmedPid(paths.runDir)
    if (waiting === undefined) return
    // It would put back, or save, what was in force.
    said.push(`${dryRun ? 'would end' : 'ended'} the apply --confirm that waits for its answer\n`)
    if (!dryRun) process.kill(waiting, 'SIGKILL')
  })
  const current = await currentBackend()
  const removals = await planRollback(current, (backend, { message }) => {
    warn(`cannot see what is in force in the ${backend} backend: ${message}`)
    failed ||= backend === current
  })
  for (const { backend, plan } of removals) said.push(`${backend}:\n${renderChanges(plan.changes, removed)}`)
  if (!dryRun) await attempt(() => rollbackKernel(removals, warn))
  const isZoneThere = await hasBridgeZone()
  if (isZoneThere !== false) {
    said.push(`${removed} table bridge pvenat${isZoneThere ? '' : ', if there was one'}\n`)
    if (!dryRun) await attempt(() => setBridgeZone(false))
  }
  if (await hasLoop([])) {
    said.push(`${removed} interfaces pvenat0 and pvenat1\n`)
    if (!dryRun) await attempt(() => setLoop([]))
  }
  await attempt(() =>
    restoreSysctls(
      paths.stateDir,
      dryRun,
      (path, value) => void said.push(`${dryRun ? 'would set' : 'set'} ${dotted(path)} = ${value}\n`),
      warn,
    ),
  )
  // The old values of sysctls are still needed when the rest can be removed, too.
  if (!failed)
    for (const [folder, files] of [
      [paths.stateDir, STATE_FILES],
      [paths.runDir, RUN_FILES],
    ] as const)
      await attempt(() =>
        removeFolder(folder, files, dryRun, (path) => void said.push(`${removed} ${path}\n`), warn),
      )
  const text = said.join('')
  io.stdout(text === '' && !failed ? 'nothing of pvenat is in force\n' : text)
  return failed ? 1 : 0
}
