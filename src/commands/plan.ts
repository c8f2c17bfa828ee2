/** `plan`: what `apply` would change. */
import { lookKnowing } from '../node/recall.ts'
import { differingSysctls } from '../node/sysctls.ts'
import { compile } from '../pipeline.ts'
import { kernelFacts } from '../ruleset/installed.ts'
import { isEmpty, makePlan } from '../ruleset/plan.ts'
import { changesOfRows } from '../service/publish.ts'
import { rowChangeJson } from '../show/changes.ts'
import { listRows } from '../show/list.ts'
import { locate } from '../show/diagnostics.ts'
import { renderPlan } from '../show/plan.ts'
import { lookedAtLine, summarizeRules } from '../show/verdict.ts'
import { wantedSysctls } from '../sysctls.ts'
import { kernelOf, showDiagnostics, toldOf, type Context } from './context.ts'

export async function planCommand(context: Context): Promise<number> {
  const { io, paths, values } = context
  const looked = await lookKnowing(paths)
  const kernel = await kernelOf(looked, context)
  const installed = await kernel.read()
  const outcome = compile({ ...looked, kernel: kernelFacts(installed) })
  const plan = makePlan(outcome.ruleset, installed)
  const sysctls = [...(await differingSysctls(wantedSysctls(outcome.ruleset, looked.network), kernel)).keys()]
  const told = toldOf(looked, outcome)
  showDiagnostics(told, context)
  const rules = await changesOfRows(listRows(outcome, paths.pveDir), installed, paths.runDir)
  if (context.json) io.stdout(`${JSON.stringify([...plan.changes, ...(rules ?? []).map(rowChangeJson)])}\n`)
  else {
    const summary = summarizeRules(outcome.translation, locate(told.diagnostics, told.sources, paths.pveDir))
    io.stdout(`${renderPlan({ plan, sysctls, rules }, values.verbose === true)}${lookedAtLine(summary)}\n`)
  }
  return isEmpty(plan) && sysctls.length === 0 ? 0 : 3
}
