/** The NAT rules of others with what they become, as they are now. */
import { importAll, type Imported } from '../import/trial.ts'
import { readWritten } from '../import/written.ts'
import { chooseBackend } from '../node/backend.ts'
import { readFacts } from '../node/facts.ts'
import type { Looked, Paths } from '../node/look.ts'
import { lookKnowing } from '../node/recall.ts'

export async function importable(paths: Paths): Promise<{ looked: Looked; all: Imported[] }> {
  const looked = await lookKnowing(paths)
  const facts = await readFacts(await chooseBackend(looked.settings), paths.runDir, [])
  return { looked, all: importAll(looked, readWritten(facts)) }
}
