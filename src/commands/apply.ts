/** `apply` and `plan`: the same pass, once for real. */
import { apply } from '../node/apply.ts'
import { chooseBackend } from '../node/backend.ts'
import { realKernel } from '../node/kernel.ts'
import { look, type Looked } from '../node/look.ts'
import { steadyLook } from '../node/steady.ts'
import { compile } from '../pipeline.ts'
import { isEmpty, makePlan } from '../ruleset/plan.ts'
import { renderChanges } from '../show/plan.ts'
import { applyUnlessUnconfirmed } from './confirm.ts'
import { showDiagnostics, sourcesOf, UsageError, type Context } from './context.ts'

export async function applyCommand(context: Context): Promise<number> {
  const { io, paths } = context
  const seconds = confirmSeconds(context)
  const looked = await steadyLook(paths)
  const kernel = await kernelOf(looked, context)
  const warn = (message: string): void => io.stderr(`pvenat: ${message}\n`)
  const applied =
    seconds === undefined
      ? await apply(looked, kernel, paths.stateDir, warn)
      : await applyUnlessUnconfirmed(looked, kernel, seconds, context, warn)
  if (!applied) return 1
  const { outcome, plan, sysctls } = applied
  const failed = showDiagnostics(
    [...looked.settingsDiagnostics, ...outcome.translation.diagnostics],
    sourcesOf(looked),
    context,
  )
  if (context.json)
    io.stdout(`${JSON.stringify({ changed: !isEmpty(plan), changes: plan.changes, sysctls })}\n`)
  else
    io.stdout(
      isEmpty(plan) && sysctls.length === 0 ? 'everything is in force\n' : renderChanges(plan.changes),
    )
  return failed ? 1 : 0
}

function confirmSeconds({ values }: Context): number | undefined {
  if (values.confirm === undefined) return undefined
  const seconds = Number(values.confirm)
  if (!(seconds >= 1 && seconds <= 3600)) throw new UsageError('--confirm takes seconds from 1 to 3600')
  return seconds
}

export async function planCommand(context: Context): Promise<number> {
  const looked = await look(context.paths)
  const inForce = await (await kernelOf(looked, context)).read()
  const { ruleset, translation } = compile(looked, inForce)
  const plan = makePlan(ruleset, inForce)
  showDiagnostics([...looked.settingsDiagnostics, ...translation.diagnostics], sourcesOf(looked), context)
  const text = isEmpty(plan) ? 'everything is in force\n' : renderChanges(plan.changes)
  context.io.stdout(context.json ? `${JSON.stringify(plan.changes)}\n` : text)
  return isEmpty(plan) ? 0 : 3
}

/** The kernel by way of the backend that the settings or the node's alternatives choose. */
export async function kernelOf(
  { settings }: Looked,
  { io }: Context,
): Promise<ReturnType<typeof realKernel>> {
  const backend = await chooseBackend(settings)
  return realKernel(backend, (message) => io.stderr(`pvenat: ${message}\n`))
}
