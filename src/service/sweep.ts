/** Removes the rules that an earlier run left in the other backend, where they would act a second time, once ours are in force. */
import { otherBackend, type Backend } from '../facts/backend.ts'
import { planRollback, rollbackKernel } from '../node/rollback.ts'
import type { Journal } from './journal.ts'

export async function sweepOther(
  backend: Backend,
  warn: (message: string) => void,
  journal: Journal,
): Promise<void> {
  const leftovers = (await planRollback(backend, () => undefined)).filter(
    (one) => one.backend === otherBackend(backend) && one.plan.tables[4] + one.plan.tables[6] !== '',
  )
  await rollbackKernel(
    leftovers.map((one) => ({ ...one, plan: { ...one.plan, staleSets: [] } })),
    warn,
  )
  for (const one of leftovers) journal.info(`removed leftovers of the ${one.backend} backend`)
}
