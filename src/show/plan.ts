/** A plan as a person reads it: what would change, chain by chain. */
import type { Change } from '../ruleset/plan.ts'

const VERBS = { add: 'new', replace: 'changed', remove: 'removed' }

function headline({ kind, what, family, removed, added }: Change): string {
  if (kind !== 'hook') return `${VERBS[kind]} ${what} (IPv${family})`
  const verb = added.length === 0 ? 'removed' : removed.length === 0 ? 'new' : 'moved'
  return `${verb} jump from ${what} (IPv${family})`
}

export function renderChanges(changes: readonly Change[]): string {
  return changes
    .map((change) => {
      const { removed, added } = change
      const gone = removed.map(strip)
      const come = added.map(strip)
      const lines = [
        ...gone.filter((line) => !come.includes(line)).map((line) => `  - ${line}`),
        ...come.filter((line) => !gone.includes(line)).map((line) => `  + ${line}`),
      ]
      return [headline(change), ...lines, ''].join('\n')
    })
    .join('')
}

/** The hash is for machines. */
function strip(line: string): string {
  return line.replace(/ -m comment --comment "?pvenat:[0-9a-z]+"?/, '')
}
