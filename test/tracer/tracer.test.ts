// One model of overlaps: what a plain reading of the rules says of a packet is what the rendered chains do with it.
import fc from 'fast-check'
import { SEED } from '../seed.ts'
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Ledger } from '../../src/nat/rights.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import { buildRuleset } from '../../src/ruleset/chains.ts'
import { chainText } from '../../src/ruleset/restore-text.ts'
import { SIZES, type Sizes } from '../../src/ruleset/split.ts'
import { crowds } from './crowd.ts'
import { specs } from './generate.ts'
import { questions, toPacket, type Question } from './packets.ts'
import { read } from './reading.ts'
import { filesOf, fullsOnly, showSpec, type Spec } from './spec.ts'
import { trace, type Packet } from './tracer.ts'
import { lookAt, NODE, SURROUNDINGS } from './world.ts'
import { ledgerAfter } from '../ledger.ts'

const numRuns = Number(process.env['RUNS'] ?? 2000)
const PACKETS = 20

function differences(spec: Spec, packets: readonly Packet[], sizes: Sizes): string[] {
  const { translation, view } = compile({ ...lookAt(filesOf(spec, NODE)), ...ledgerBefore(spec) })
  const ruleset = buildRuleset(translation, view, sizes)
  return packets.flatMap((packet) => {
    const reading = read(spec, packet)
    if (!reading) return []
    const { mustAccept, ...said } = reading
    const { accepted, ...done } = trace(ruleset, packet, SURROUNDINGS)
    const isAsRead = JSON.stringify(said) === JSON.stringify(done)
    const isLetIn = accepted || !mustAccept || SURROUNDINGS.firewallBridge(said.to) === undefined
    if (isAsRead && isLetIn) return []
    return [
      `${JSON.stringify(packet)}\n  read: ${JSON.stringify({ ...said, mustAccept })}\n  done: ${JSON.stringify({ ...done, accepted })}`,
    ]
  })
}

/** The rights of those that came before all others. */
function ledgerBefore(spec: Spec): { ledger?: Ledger } {
  return spec.fullsCameFirst ? { ledger: ledgerAfter(compile(lookAt(filesOf(fullsOnly(spec), NODE)))) } : {}
}

const many = (n: number): fc.Arbitrary<Question[]> => fc.array(questions, { minLength: n, maxLength: n })
const asked = many(PACKETS)

test(
  `the chains of ${numRuns} random rule files do what a plain reading says`,
  () => check(fc.tuple(specs, asked), numRuns, ([spec, all]) => differencesOf(spec, all, SIZES)),
  numRuns * 60 + 60_000,
)

test(
  `beside full=1 that was there before, ${numRuns} random files do what a plain reading says`,
  () =>
    check(
      fc.tuple(
        specs.map((spec) => ({ ...spec, fullsCameFirst: true })),
        asked,
      ),
      numRuns,
      ([spec, all]) => differencesOf(spec, all, SIZES),
    ),
  numRuns * 60 + 60_000,
)

/** Everything that can be a tree is one. */
const TREES = { plain: 2, leaf: 1 }

test(
  `trees of the rules of ${numRuns} random files do what a plain reading says`,
  () => check(fc.tuple(specs, asked), numRuns, ([spec, all]) => differencesOf(spec, all, TREES)),
  numRuns * 60 + 60_000,
)

const crowdRuns = Math.ceil(numRuns / 40)

test(
  `the chains of ${crowdRuns} files of hundreds of rules do what a plain reading says`,
  () =>
    check(fc.tuple(crowds, many(5 * PACKETS)), crowdRuns, ([spec, all]) => differencesOf(spec, all, SIZES)),
  numRuns * 60 + 60_000,
)

test(
  'a second pass over the same files wants the same, for everybody keeps what he has',
  () =>
    check(
      specs.map((spec) => [spec]),
      numRuns / 4,
      ([spec]) => changes(spec),
    ),
  numRuns * 60 + 60_000,
)

/** Nothing must be wrong with any value; if something is, shows the smallest one. */
async function check<T extends [Spec, ...unknown[]]>(
  values: fc.Arbitrary<T>,
  runs: number,
  wrong: (value: T) => string[],
): Promise<void> {
  const property = fc.asyncProperty(values, async (value) => {
    // Long runs would else keep vitest from hearing of its worker.
    await setImmediate()
    return wrong(value).length === 0
  })
  const { failed, seed, counterexample } = await fc.check(property, { numRuns: runs, seed: SEED })
  if (!failed) return
  const [value] = counterexample ?? []
  if (!value) throw new Error(`no counterexample with SEED=${seed}`)
  const again = `again with SEED=${seed} RUNS=${numRuns}`
  expect.fail([again, showSpec(value[0]), ...new Set(wrong(value))].join('\n'))
}

function changes(spec: Spec): string[] {
  const look = lookAt(filesOf(spec, NODE))
  const first = compile(look)
  const second = compile({ ...look, ledger: ledgerAfter(first) })
  const before = rulesText(first)
  const after = rulesText(second)
  const gone = before.filter((line) => !after.includes(line)).map((line) => `- ${line}`)
  const added = after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`)
  if (gone.length + added.length > 0) return [...gone, ...added]
  return after.filter((line, i) => line !== before[i]).map((line) => `elsewhere: ${line}`)
}

function rulesText({ ruleset }: Outcome): string[] {
  return ([4, 6] as const).flatMap((family) =>
    ruleset.chains[family].flatMap((chain) =>
      chainText(chain, family).map(({ line }) => line.replace(/ -m comment --comment \S+/, '')),
    ),
  )
}

function differencesOf(spec: Spec, all: readonly Question[], sizes: Sizes): string[] {
  return differences(
    spec,
    all.map((question) => toPacket(question, spec)),
    sizes,
  )
}
