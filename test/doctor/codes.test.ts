// Every finding has a test in which it is so: on a broken node of the lab, or with facts that no namespace can bring about. That it
// is not so on a node without a fault, and not any more after its fix, those tests say themselves.
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { FINDING_IDS } from '../../src/doctor/finding.ts'

const text = [
  'test/packets/doctor.test.ts',
  'test/packets/doctor-guests.test.ts',
  'test/doctor/doctor.test.ts',
]
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n')

test.each(FINDING_IDS)('%s', (id) => {
  // A case of the lab, or an expectation of the findings with their severity.
  const isTested = new RegExp(
    `^ {2}'?${id}(: [^']*)?'?: \\{|['"](error|warning|info) ${id}['"]|id: '${id}'`,
    'm',
  )
  expect(isTested.test(text)).toBe(true)
})

test('no fix ends a service, a guest or a process, opens FORWARD to all, or switches a firewall or a rule over', () => {
  const sources = ['src/doctor', 'src/explain', 'src/facts']
    .flatMap((folder) => readdirSync(folder).map((name) => readFileSync(`${folder}/${name}`, 'utf8')))
    .join('\n')
  expect(sources).not.toMatch(/\b(kill|reboot|shutdown|disable|qm stop|pct stop)\b.*\$\{/)
  expect(sources).not.toMatch(/systemctl (stop|disable|mask)|-P FORWARD|options --enable|--enable 0/)
})
