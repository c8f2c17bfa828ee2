/** Removes every trace from the kernel: own chains, hooks and sets of both backends, and switched sysctls. */
import { EMPTY_PLAN, isEmpty, makePlan, NOTHING, type Plan } from '../ruleset/plan.ts'
import { otherBackend, type Backend } from '../facts/backend.ts'
import { realKernel } from './kernel.ts'
import { givenValue } from '../sysctls.ts'
import { readState } from './state.ts'

interface Removal {
  backend: Backend
  plan: Plan
}

/** The removals, the backend in use first. `unread` is called for a backend that cannot be read, as on a kernel without it. */
export async function planRollback(
  backend: Backend,
  unread: (backend: Backend, error: Error) => void,
): Promise<Removal[]> {
  const removals: Removal[] = []
  for (const one of [backend, otherBackend(backend)]) {
    try {
      const installed = await realKernel(one, () => undefined).read()
      // Routing is of no backend; it goes with the rules of the backend in use.
      const { routing } = one === backend ? installed : NOTHING
      const plan = makePlan(NOTHING, { ...installed, routing })
      if (!isEmpty(plan)) removals.push({ backend: one, plan })
    } catch (error) {
      unread(one, error as Error)
    }
  }
  return removals
}

/** Takes it away, rules of both backends first: they may use the same sets and interfaces. Throws at the end if something stays. */
export async function rollbackKernel(
  removals: readonly Removal[],
  warn: (message: string) => void,
): Promise<void> {
  const last = removals.at(-1)
  const steps = removals.map(({ backend, plan }): Removal => ({ backend, plan: { ...plan, staleSets: [] } }))
  if (last) steps.push({ backend: last.backend, plan: { ...EMPTY_PLAN, staleSets: last.plan.staleSets } })
  await tryAll(steps, ({ backend, plan }) => realKernel(backend, warn).write(plan))
}

/**
 * Restores sysctls that still have the value that pvenat gave them; `told` is called for each, `warn` when old values are unknown. Throws
 * at the end if a sysctl stays.
 */
export async function restoreSysctls(
  stateDir: string,
  dryRun: boolean,
  told: (path: string, value: string) => void,
  warn: (message: string) => void,
): Promise<void> {
  const kernel = realKernel('legacy', () => undefined)
  const { sysctls } = await readState(stateDir, warn)
  await tryAll(Object.entries(sysctls).reverse(), async ([path, old]) => {
    if (!/^net\/ipv[46]\/[\w./-]+$/.test(path) || path.includes('..')) return
    const now = await kernel.sysctl(path)
    if (now !== givenValue(path) || now === old) return
    if (!dryRun) await kernel.setSysctl(path, old)
    told(path, old)
  })
}

/** Takes all steps in turn, although a step fails; throws the first failure. */
async function tryAll<T>(steps: readonly T[], take: (step: T) => Promise<unknown>): Promise<void> {
  const failures: unknown[] = []
  for (const step of steps) await take(step).catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0] as Error
}
