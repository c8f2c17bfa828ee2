// Every case of fixtures/cases through the pipeline, without a kernel. `UPDATE=1` writes the golden parts anew.
import { describe, expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { NOTHING_INSTALLED } from '../../src/ruleset/installed.ts'
import { makePlan } from '../../src/ruleset/plan.ts'
import { loadCases, updateCase } from './case.ts'
import { showDiagnostics, showRules, showWhole } from './show.ts'
import { worldOf } from './world.ts'

describe('cases', () => {
  test.each(loadCases().map((one) => [one.name, one] as const))('%s', async (name, one) => {
    const { look, settingsDiagnostics, sources } = await worldOf(one)
    const outcome = compile(look)
    const plan = makePlan(outcome.ruleset, NOTHING_INSTALLED)
    const golden = {
      rules: showRules(outcome),
      diagnostics: showDiagnostics([...settingsDiagnostics, ...outcome.translation.diagnostics], sources),
      whole: one.whole === undefined ? undefined : showWhole(plan),
    }
    if (process.env['UPDATE'] === '1') updateCase(name, golden)
    else expect(golden).toEqual({ rules: one.rules, diagnostics: one.diagnostics, whole: one.whole })
    // Whatever was typed, only words that pvenat made reach the kernel's programs.
    const text = plan.sets + plan.tables[4] + plan.tables[6]
    expect(text.split('\n').filter((line) => !/^[\w*:+!.,/[\] -]*$/.test(line))).toEqual([])
    const chains = [...outcome.ruleset.chains[4], ...outcome.ruleset.chains[6]].map((chain) => chain.name)
    expect(chains.filter((chain) => chain.length > 28)).toEqual([])
    expect(outcome.ruleset.sets.filter((set) => set.name.length > 31)).toEqual([])
  })

  test('each opens with what it proves', () => {
    expect(
      loadCases()
        .filter(({ proves }) => !/^[A-Z`].*\.$/s.test(proves))
        .map(({ name }) => name),
    ).toEqual([])
  })
})
