// Nothing is told that has no test: each finding of doctor and each diagnostic of check is so in a lab, and is not any more when its help is typed.
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CODES, type Code } from '../src/diagnostic.ts'
import { FINDING_IDS } from '../src/doctor/finding.ts'
import { WORDINGS } from '../src/wordings.ts'
import { loadCases, type Case } from './cases/case.ts'
import { examined, FAULTS } from './doctor/worlds.ts'
import { BOUNDS } from './packets/mistyped-bounds.ts'
import { COMMENTS } from './packets/mistyped-comments.ts'
import { FIELDS } from './packets/mistyped-fields.ts'

/** Diagnostics that tests of their own bring about with packets: they need another node, or time. */
const ELSEWHERE: Partial<Record<Code, string>> = {
  'helper-shifted': 'packets/helpers.test.ts',
  'leads-inward': 'packets/asitis.test.ts',
  'source-public': 'packets/asitis.test.ts',
  'guest-address': 'packets/learnt.test.ts',
  'port-kept': 'packets/mistyped.test.ts',
  'network-left': 'packets/router.test.ts',
  quarantined: 'chaos/refused.ts',
}

/** Diagnostics without a packet of their own, and why; each has a case in fixtures all the same. */
const NO_PACKET: Partial<Record<Code, string>> = {
  'proto-ports': 'the lab has no servers of protocols without ports',
  'macro-part': 'nothing helps: icmp is not forwarded',
  'guest-outside': 'nothing helps: such a guest leaves past this node',
  elsewhere: 'the packet passes, on another node',
  'told-some': 'it speaks of other lines',
  'settings-unusable': 'the settings of before stay in force, so all packets go where they went',
  held: 'the claim of before needs a node that was up before (gaps.test.ts, incumbents.test.ts)',
  'auto-moved': 'it speaks of an edit that has not been applied yet',
  'network-form': 'not asked with packets yet',
  'network-refused': 'not asked with packets yet',
  'network-held': 'not asked with packets yet',
  'network-unanswered': 'not asked with packets yet',
  limit: 'not asked with packets yet',
  'auto-has': 'not asked with packets yet',
  'full-whole': 'not asked with packets yet',
  'block-none': 'what helps are the settings of all guests',
  'block-full': 'what helps is to take lines away',
  'nft-sport': 'what keeps clients out is a rule of proxmox-firewall, which runs in no lab',
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

describe('diagnostics of check', () => {
  /** Names in the table of foreseen.test.ts, in which a case may follow the code. */
  const foreseen = [...read('packets/foreseen.test.ts').matchAll(/^ +'?([a-z-]+)(?:: [^']*)?'?: \{/gm)].map(
    ([, code]) => code,
  )

  const inTables = [COMMENTS, FIELDS, BOUNDS].flatMap((table) => Object.keys(table))

  test.each(CODES)('%s', (code) => {
    const file = ELSEWHERE[code]
    if (file !== undefined) expect(read(file)).toContain(code)
    else expect([...inTables, ...foreseen, ...Object.keys(NO_PACKET)]).toContain(code)
  })
})
