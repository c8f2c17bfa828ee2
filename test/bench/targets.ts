/** What the measurements are held against. */
import { quantile } from './statistics.ts'
import { grid, round, showValues } from './table.ts'

export interface Target {
  what: string
  /** The median may be at most this, or at least. */
  bound: { atMost: number } | { atLeast: number }
  unit: string
  /** Undefined when this run did not measure it. */
  values: readonly number[] | undefined
}

export type Verdict = 'met' | 'not met' | 'not measured'

export function verdict({ bound, values }: Target): Verdict {
  if (values === undefined || values.length === 0) return 'not measured'
  const median = quantile(values, 0.5)
  const isMet = 'atMost' in bound ? median <= bound.atMost : median >= bound.atLeast
  return isMet ? 'met' : 'not met'
}

export function showTargets(targets: readonly Target[]): string {
  const rows = targets.map((target) => [
    target.what,
    'atMost' in target.bound
      ? `at most ${round(target.bound.atMost)}${target.unit}`
      : `at least ${round(target.bound.atLeast)}${target.unit}`,
    target.values && target.values.length > 0 ? `${showValues(target.values)}${target.unit}` : '',
    verdict(target),
  ])
  return ['### Targets', '', ...grid([['target', 'bound', 'measured', ''], ...rows]), ''].join('\n')
}
