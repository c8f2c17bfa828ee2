/** `restore`: what the service put into force last, at boot, before the cluster's files are there. */
import { restoreSaved } from '../node/saved.ts'
import type { Context } from './context.ts'

export async function restoreCommand({ io, paths }: Context): Promise<number> {
  const restored = await restoreSaved(paths.stateDir, (message) => io.stderr(`pvenat: ${message}\n`))
  const said = {
    restored: 'what was in force last is in force again',
    'in force': 'NAT is in force; nothing was touched',
    'nothing saved': 'nothing was in force last',
  }
  io.stdout(`${said[restored]}\n`)
  return 0
}
