/** Removes every trace from the kernel: own chains, hooks and sets of both backends, and switched sysctls. */
import { isEmpty, makePlan, NOTHING, type Plan } from '../ruleset/plan.ts'
import { otherBackend, type Backend } from '../facts/backend.ts'
import { realKernel } from './kernel.ts'
import { readState } from './state.ts'

interface Removal {
  backend: Backend
  plan: Plan
}

/** What rollback would remove, the backend in use first. `unread` hears of one that does not tell, as on a kernel without it. */
export async function planRollback(
  backend: Backend,
  unread: (backend: Backend, error: Error) => void,
): Promise<Removal[]> {
  const removals: Removal[] = []
  for (const one of [backend, otherBackend(backend)]) {
    try {
      const plan = makePlan(NOTHING, await realKernel(one, () => undefined).read())
      if (!isEmpty(plan)) removals.push({ backend: one, plan })
    } catch (error) {
      unread(one, error as Error)
    }
  }
  return removals
}

/** Takes it away, rules of both backends first: they may use the same sets and interfaces. */
export async function rollbackKernel(
  removals: readonly Removal[],
  warn: (message: string) => void,
): Promise<void> {
  for (const { backend, plan } of removals) await realKernel(backend, warn).write({ ...plan, staleSets: [] })
  const [last] = removals
  if (last) await realKernel(last.backend, warn).write({ ...last.plan, tables: { 4: '', 6: '' } })
}

/** Puts sysctls back that still have the value that pvenat gave them. Returns what was set, by path. */
export async function restoreSysctls(stateDir: string, dryRun: boolean): Promise<Map<string, string>> {
  const kernel = realKernel('legacy', () => undefined)
  const restored = new Map<string, string>()
  for (const [path, old] of Object.entries((await readState(stateDir)).sysctls).reverse()) {
    if (!/^net\/ipv[46]\/[\w./-]+$/.test(path) || path.includes('..')) continue
    const now = await kernel.sysctl(path)
    const given = path.endsWith('/accept_ra') ? '2' : '1'
    if (now !== given || now === old) continue
    restored.set(path, old)
    if (!dryRun) await kernel.setSysctl(path, old)
  }
  return restored
}
