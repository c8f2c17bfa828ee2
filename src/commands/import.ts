/** `import`: what the NAT rules of others become. It only reads, but for `--switch`. */
import { importAll, type Imported } from '../import/trial.ts'
import { readWritten } from '../import/written.ts'
import { chooseBackend } from '../node/backend.ts'
import { readFacts } from '../node/facts.ts'
import { lookKnowing } from '../node/recall.ts'
import type { Looked, Paths } from '../node/look.ts'
import { importJson, renderImport, renderPvesh } from '../show/import.ts'
import type { Context } from './context.ts'

export async function importCommand({ io, paths, json, values }: Context): Promise<number> {
  const { all } = await importable(paths)
  if (json) io.stdout(`${JSON.stringify(all.map(importJson), null, 1)}\n`)
  else if (values['pvesh'] === true) io.stdout(renderPvesh(all))
  else io.stdout(renderImport(all, io.size?.()?.columns ?? Infinity))
  return 0
}

/** Every NAT rule of others with what it becomes. */
async function importable(paths: Paths): Promise<{ looked: Looked; all: Imported[] }> {
  const looked = await lookKnowing(paths)
  const facts = await readFacts(await chooseBackend(looked.settings), paths.runDir, [])
  return { looked, all: importAll(looked, readWritten(facts)) }
}
