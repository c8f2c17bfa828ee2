/** A plan as a person reads it: what would change, chain by chain. */
import type { Change } from '../ruleset/plan.ts'

const VERBS: Record<Change['kind'], string> = {
  add: 'new',
  replace: 'changed',
  remove: 'removed',
  hook: 'jump from',
}

export function renderChanges(changes: readonly Change[]): string {
  return changes
    .map(({ kind, what, family, removed, added }) => {
      const gone = removed.map(strip)
      const come = added.map(strip)
      const lines = [
        ...gone.filter((line) => !come.includes(line)).map((line) => `  - ${line}`),
        ...come.filter((line) => !gone.includes(line)).map((line) => `  + ${line}`),
      ]
      return [`${VERBS[kind]} ${what} (IPv${family})`, ...lines, ''].join('\n')
    })
    .join('')
}

/** The hash is for machines. */
function strip(line: string): string {
  return line.replace(/ -m comment --comment "?pvenat:[0-9a-z]+"?/, '')
}
