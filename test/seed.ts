// The gate says the same of the same code: properties start from one seed. SEED=n tries another, RUNS=n more of each.
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { beforeEach } from 'vitest'

export const SEED = Number(process.env['SEED'] ?? 20261120)

fc.configureGlobal({ seed: SEED })

// Tests that await nothing follow each other without a pause, and vitest takes a worker that is not heard of for a minute for dead.
beforeEach(() => setImmediate())
