/** `restore`: the ruleset that was in force last, at boot, before the cluster's files are there. */
import { realKernel } from '../node/kernel.ts'
import { isNothing, putBack, readSaved } from '../node/saved.ts'
import type { Context } from './context.ts'

export async function restoreCommand({ io, paths }: Context): Promise<number> {
  const saved = await readSaved(paths.stateDir)
  if (!saved) io.stdout('nothing was in force last\n')
  else {
    const warn = (message: string): void => io.stderr(`pvenat: ${message}\n`)
    const kernel = realKernel(saved.backend, warn)
    const isInForce = isNothing(await putBack(saved, kernel, paths.stateDir, warn))
    io.stdout(
      isInForce ? 'NAT is in force; nothing was touched\n' : 'NAT is in force again, as it was last\n',
    )
  }
  return 0
}
