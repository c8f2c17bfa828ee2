/** A plan as a person reads it: what becomes of the NAT rules, and what would change in the kernel, chain by chain. */
import type { Change } from '../ruleset/change.ts'
import { isEmpty, type Plan } from '../ruleset/plan.ts'
import { withoutMark } from '../ruleset/restore-text.ts'
import { dotted } from '../sysctls.ts'
import { renderRowChanges, type RowChange } from './changes.ts'
import { countRepairs } from './status.ts'

interface PlanShown {
  plan: Plan
  /** Sysctls to switch, by path below /proc/sys. */
  sysctls: readonly string[]
  /** Against what pvenat remembers of what it put into force last; undefined when it remembers nothing. */
  rules: readonly RowChange[] | undefined
}

/** In the administrator's terms as far as they are known; with `isVerbose` and without a past in the kernel's. */
export function renderPlan({ plan, sysctls, rules }: PlanShown, isVerbose: boolean): string {
  if (isEmpty(plan) && sysctls.length === 0) return 'everything is in force\n'
  const switched = sysctls.map((path) => `switch on ${dotted(path)}\n`).join('')
  const kernel = renderChanges(plan.changes)
  if (!rules)
    return `what was in force before is not remembered, so in the kernel's terms:\n${kernel}${switched}`
  const said =
    rules.length > 0 || isEmpty(plan)
      ? renderRowChanges(rules)
      : 'no NAT rule changes; what is in force is not what pvenat would put there\n'
  const rest =
    plan.changes.length === 0 ? '' : `in the kernel: ${counted(plan.changes)} (--verbose shows them)\n`
  return said + switched + (isVerbose ? kernel : rest)
}

function counted(changes: readonly Change[]): string {
  const { chain, hook, set } = countRepairs(changes, [], false)
  return Object.entries({ chain, set, jump: hook })
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${kind}${count === 1 ? '' : 's'}`)
    .join(', ')
}

const VERBS = { add: 'new', replace: 'changed' }

function headline({ kind, what, family, removed, added }: Change, gone: string): string {
  if (kind !== 'hook') return `${kind === 'remove' ? gone : VERBS[kind]} ${what} (IPv${family})`
  const verb = added.length === 0 ? gone : removed.length === 0 ? 'new' : 'moved'
  return `${verb} jump from ${what} (IPv${family})`
}

/** `gone`: the verb for a chain, set or jump that goes. */
export function renderChanges(changes: readonly Change[], gone = 'removed'): string {
  return changes
    .map((change) => {
      const { removed, added } = change
      const before = removed.map(withoutMark)
      const after = added.map(withoutMark)
      const lines = [
        ...before.filter((line) => !after.includes(line)).map((line) => `  - ${line}`),
        ...after.filter((line) => !before.includes(line)).map((line) => `  + ${line}`),
      ]
      return [headline(change, gone), ...lines, ''].join('\n')
    })
    .join('')
}
