/** `import`: what the NAT rules of others become. It only reads, but for `--switch`. */
import { UsageError } from '../io.ts'
import { importJson, renderImport, renderPvesh } from '../show/import.ts'
import { confirmSeconds } from './ask.ts'
import type { Context } from './context.ts'
import { importable } from './importable.ts'
import { switchOver } from './switch.ts'

export async function importCommand(context: Context): Promise<number> {
  const { io, paths, json, values } = context
  const seconds = confirmSeconds(context)
  if ((values['switch'] === true) !== (seconds !== undefined))
    throw new UsageError('--switch and --confirm SECS belong together: pvenat import --switch --confirm 60')
  if (seconds !== undefined) return switchOver(context, seconds)
  const { all } = await importable(paths)
  if (json) io.stdout(`${JSON.stringify(all.map(importJson), null, 1)}\n`)
  else if (values['pvesh'] === true) io.stdout(renderPvesh(all))
  else io.stdout(renderImport(all))
  return 0
}
