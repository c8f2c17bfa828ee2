/** `compile`: the whole ruleset as the text that would be loaded on a node where nothing is in force. */
import { FAMILIES } from '../address.ts'
import { restoreProgram } from '../facts/backend.ts'
import { chooseBackend } from '../node/backend.ts'
import { lookOnce } from '../node/look.ts'
import { compile } from '../pipeline.ts'
import { NOTHING_INSTALLED } from '../ruleset/installed.ts'
import { makePlan } from '../ruleset/plan.ts'
import { showDiagnostics, toldOf, type Context } from './context.ts'

export async function compileCommand(context: Context): Promise<number> {
  const looked = await lookOnce(context.paths)
  const backend = await chooseBackend(looked.settings)
  const outcome = compile(looked)
  const plan = makePlan(outcome.ruleset, NOTHING_INSTALLED)
  const failed = showDiagnostics(toldOf(looked, outcome), context)
  if (context.json)
    context.io.stdout(`${JSON.stringify({ sets: plan.sets, v4: plan.tables[4], v6: plan.tables[6] })}\n`)
  else {
    context.io.stdout(`# ipset restore\n${plan.sets}`)
    for (const family of FAMILIES)
      context.io.stdout(`# ${restoreProgram(backend, family)} --noflush\n${plan.tables[family]}`)
  }
  return failed ? 1 : 0
}
