// What no fix of doctor or explain may be.
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

test('no fix ends a service, a guest or a process, opens FORWARD to all, or switches a firewall or a rule over', () => {
  const sources = ['src/checks', 'src/explain', 'src/facts']
    .flatMap((folder) => readdirSync(folder).map((name) => readFileSync(`${folder}/${name}`, 'utf8')))
    .join('\n')
  expect(sources).not.toMatch(/\b(kill|reboot|shutdown|disable|qm stop|pct stop)\b.*\$\{/)
  expect(sources).not.toMatch(/systemctl (stop|disable|mask)|-P FORWARD|options --enable|--enable 0/)
})
