/** One process per rule takes minutes when there are many rules, for each copies what is there: then it is sampled. */
import type { Backend } from '../lab/index.ts'
import type { Namespace } from '../lab/namespace.ts'
import { millisecondsOf } from './clock.ts'
import type { BenchForward } from './generate.ts'
import { load, processPerRule } from './ways.ts'

/** Up to so many rules it is done in full. */
const FULLY = 1000
/** At so many lengths of the chain ... */
const POINTS = 5
/** ... so many rules are added. */
const SAMPLE = 50

export const ESTIMATED = 'estimated'

export interface Slow {
  ms: number
  note: string
}

/** How long the flush and one process for each forward take, or would. */
export async function slowLoad(
  node: Namespace,
  backend: Backend,
  forwards: readonly BenchForward[],
): Promise<Slow> {
  if (forwards.length <= FULLY) {
    return { ms: await millisecondsOf(() => load(node, 'process per rule', backend, forwards)), note: '' }
  }
  const costs: number[] = []
  for (let point = 0; point < POINTS; point++) {
    const length = Math.round((point / (POINTS - 1)) * (forwards.length - SAMPLE))
    await load(node, 'linear chain', backend, forwards.slice(0, length))
    const input = processPerRule(backend, forwards.slice(length, length + SAMPLE), false)
    costs.push((await millisecondsOf(() => node.exec(['sh', '-e'], { input }))) / SAMPLE)
  }
  return { ms: forwards.length * mean(costs), note: ESTIMATED }
}

/** The mean over the length of a line through equally distant points. */
function mean(costs: readonly number[]): number {
  const steps = costs.slice(1).map((cost, i) => (cost + (costs[i] ?? cost)) / 2)
  return steps.reduce((sum, step) => sum + step, 0) / steps.length
}
