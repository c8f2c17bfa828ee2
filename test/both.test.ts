// Nothing is told that has no test: each finding of doctor, and each warning of check, has a case in which it is so and one in which it is not.
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CODES, type Code } from '../src/diagnostic.ts'
import { FINDING_IDS } from '../src/doctor/finding.ts'
import { WORDINGS } from '../src/wordings.ts'
import { loadCases, type Case } from './cases/case.ts'
import { examined, FAULTS } from './doctor/worlds.ts'

const read = (file: string): string => readFileSync(`test/${file}.test.ts`, 'utf8')

describe('findings of doctor', () => {
  /** Names of `findingTests`, in which a case may follow the id: the thing is broken for real, the fix is run, and it is found no more. */
  const inLab = ['packets/doctor', 'packets/doctor-guests'].flatMap((file) => {
    const text = read(file)
    const start = text.indexOf('\nfindingTests(')
    const table = text.slice(start, text.indexOf('\n})', start))
    const alone = [...text.matchAll(/^test\('([a-z0-9-]+): /gm)]
    return [...table.matchAll(/^ {2}'?([a-z0-9-]+)(?:: [^']*)?'?: \{/gm), ...alone].map(([, id]) => id)
  })
  /** The same on a Debian machine, for services and packages. */
  const onMachine = [...read('package/life').matchAll(/ mend\(debian, '([a-z-]+)'/g)].map(([, id]) => id)
  /** The kernel of the machine that tests need not track connections on bridges, so only the judgement is tested. */
  const inWorlds = FAULTS.flatMap(([, findings]) => findings.map(({ id }) => id)).filter(
    (id) => id === 'bridge-zone',
  )

  test.each(FINDING_IDS)('%s', (id) => {
    expect([...inLab, ...onMachine, ...inWorlds]).toContain(id)
  })

  test('none on a node without a fault', () => expect(examined()).toEqual([]))
})

describe('warnings of check', () => {
  const isWarning = (code: Code): boolean => WORDINGS[code].severity === 'warning'
  const cases = loadCases()
  const says = (code: Code, { diagnostics }: Case): boolean => diagnostics.includes(`warning[${code}]:`)
  /** Of the few that a case would be long for. */
  const isShown = (code: Code): boolean => existsSync(`fixtures/diagnostics/${code}.txt`)
  const active = cases.filter(({ rules }) => rules !== '')

  test.each(CODES.filter(isWarning))('%s', (code) => {
    expect(cases.some((one) => says(code, one)) || isShown(code)).toBe(true)
    expect(active.some((one) => !says(code, one))).toBe(true)
  })
})
