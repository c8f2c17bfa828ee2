// Nothing is told that has no test: each finding of doctor and each diagnostic of check is so in a lab, and is not any more when its help is typed.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CODES, type Code } from '../src/diagnostic.ts'
import { FINDING_IDS } from '../src/checks/finding.ts'
import { WORDINGS } from '../src/wordings.ts'
import { loadCases, type Case } from './cases/case.ts'
import { examined } from './doctor/worlds.ts'
import { BOUNDS } from './packets/mistyped-bounds.ts'
import { COMMENTS } from './packets/mistyped-comments.ts'
import { FIELDS } from './packets/mistyped-fields.ts'
import { LIMITS } from './packets/mistyped-limits.ts'

/** Diagnostics that no packet can show, and why. */
const NO_PACKET: Partial<Record<Code, string>> = {
  'told-some':
    'it counts diagnostics of other lines, which have packets of their own; no rule works or fails by it',
}

const read = (file: string): string => readFileSync(`test/${file}`, 'utf8')

describe('findings of doctor', () => {
  /** Names of `findingTests`, in which a case may follow the id: the thing is broken for real, the fix is run, and it is found no more. */
  const inLab = ['packets/doctor.test.ts', 'packets/doctor-guests.test.ts'].flatMap((file) => {
    const text = read(file)
    const start = text.indexOf('\nfindingTests(')
    const table = text.slice(start, text.indexOf('\n})', start))
    const alone = [...text.matchAll(/^test\('([a-z0-9-]+): /gm)]
    return [...table.matchAll(/^ {2}'?([a-z0-9-]+)(?:: [^']*)?'?: \{/gm), ...alone].map(([, id]) => id)
  })
  /** The same on a Debian machine, for services and packages. */
  const onMachine = [...read('package/life.test.ts').matchAll(/ mend\(debian, '([a-z-]+)'/g)].map(
    ([, id]) => id,
  )

  test.each(FINDING_IDS)('%s', (id) => {
    expect([...inLab, ...onMachine]).toContain(id)
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

describe('diagnostics of check', () => {
  /** Names in the table of foreseen.test.ts, in which a case may follow the code. */
  const foreseen = [...read('packets/foreseen.test.ts').matchAll(/^ +'?([a-z-]+)(?:: [^']*)?'?: \{/gm)].map(
    ([, code]) => code,
  )

  const inTables = [COMMENTS, FIELDS, BOUNDS, LIMITS].flatMap((table) => Object.keys(table))
  /** Labs of their own: `toldUntil` asserts both sides, and a service says the second where it said the first before. */
  const inOwnLabs = ['packets', 'chaos']
    .flatMap((folder) => readdirSync(`test/${folder}`).map((name) => read(`${folder}/${name}`)))
    .flatMap((text) => [
      ...text.matchAll(/\btoldUntil\([^,]+,\s+'([a-z-]+)'/g),
      ...text.matchAll(/\/mended\\\[([a-z-]+)\\\]\//g),
    ])
    .map(([, code]) => code)

  test.each(CODES)('%s', (code) => {
    expect([...inTables, ...foreseen, ...inOwnLabs, ...Object.keys(NO_PACKET)]).toContain(code)
  })

  test.each(Object.keys(NO_PACKET))('no packet shows %s', (code) => {
    expect([...inTables, ...foreseen, ...inOwnLabs]).not.toContain(code)
  })
})
