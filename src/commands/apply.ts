/** `apply`: one pass. */
import { apply, endFlows } from '../node/apply.ts'
import { chooseBackend } from '../node/backend.ts'
import { lookOnce, type Looked } from '../node/look.ts'
import { savedOf, writeSaved } from '../node/saved.ts'
import { isEmpty } from '../ruleset/plan.ts'
import { changesOfRows, publishList } from '../service/publish.ts'
import { rowChangeJson } from '../show/changes.ts'
import { listRows } from '../show/list.ts'
import { renderPlan } from '../show/plan.ts'
import { confirmSeconds } from './ask.ts'
import { applyUnlessUnconfirmed } from './confirm.ts'
import { kernelOf, showDiagnostics, toldOf, type Context } from './context.ts'

export async function applyCommand(context: Context): Promise<number> {
  const { io, paths, values } = context
  const seconds = confirmSeconds(context)
  const seen = await lookOnce(paths)
  const looked = values['hand-over'] === true ? withoutKept(seen) : seen
  const kernel = await kernelOf(looked, context)
  const warn = (message: string): void => io.stderr(`pvenat: ${message}\n`)
  const applied =
    seconds === undefined
      ? await apply(looked, kernel, paths.stateDir, warn)
      : await applyUnlessUnconfirmed(looked, kernel, seconds, context, warn)
  if (!applied) return 1
  await endFlows(applied, kernel, paths.stateDir, warn)
  const { outcome, plan, sysctls, installed } = applied
  // The service puts back what is saved before it reads anything: that must be nothing older than this.
  await writeSaved(paths.stateDir, savedOf(applied, looked, await chooseBackend(looked.settings))).catch(
    ({ message }: Error) => warn(`cannot save the ruleset for the next boot: ${message}`),
  )
  const failed = showDiagnostics(toldOf(looked, outcome), context)
  const rows = listRows(outcome, paths.pveDir)
  const rules = await changesOfRows(rows, installed, paths.runDir)
  if (context.json) {
    const changed = { changed: !isEmpty(plan), changes: plan.changes, sysctls }
    io.stdout(`${JSON.stringify({ ...changed, rules: rules?.map(rowChangeJson) ?? [] })}\n`)
  } else io.stdout(renderPlan({ plan, sysctls, rules }, values.verbose === true))
  await publishList(paths.runDir, rows).catch((error: Error) =>
    warn(`what is in force is not remembered: ${error.message}`),
  )
  return failed ? 1 : 0
}

/** Ports that services of the node gave up are free at once. */
function withoutKept(looked: Looked): Looked {
  return { ...looked, nodePorts: looked.nodePorts?.filter(({ until }) => until === undefined) ?? [] }
}
