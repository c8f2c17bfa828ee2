/** `compile`: the whole ruleset as the text that would be loaded on a node where nothing is in force. */
import { FAMILIES } from '../address.ts'
import { chooseBackend } from '../node/backend.ts'
import { look, sourcesOf } from '../node/look.ts'
import { compile } from '../pipeline.ts'
import { NOTHING_IN_FORCE } from '../ruleset/inforce.ts'
import { makePlan } from '../ruleset/plan.ts'
import { showDiagnostics, type Context } from './context.ts'

export async function compileCommand(context: Context): Promise<number> {
  const looked = await look(context.paths)
  const backend = await chooseBackend(looked.settings)
  const { ruleset, translation } = compile(looked)
  const plan = makePlan(ruleset, NOTHING_IN_FORCE)
  const failed = showDiagnostics(
    [...looked.settingsDiagnostics, ...translation.diagnostics],
    sourcesOf(looked),
    context,
  )
  if (context.json)
    context.io.stdout(`${JSON.stringify({ sets: plan.sets, v4: plan.tables[4], v6: plan.tables[6] })}\n`)
  else {
    context.io.stdout(`# ipset restore\n${plan.sets}`)
    for (const family of FAMILIES) {
      const name = family === 4 ? 'iptables' : 'ip6tables'
      context.io.stdout(`# ${name}-${backend}-restore --noflush\n${plan.tables[family]}`)
    }
  }
  return failed ? 1 : 0
}
