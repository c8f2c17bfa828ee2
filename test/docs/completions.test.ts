// What bash offers for a line that is begun; the completion is run, not read.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bashCompletion } from '../../install/pages/completions.ts'
import { COMMANDS } from '../../src/commands/table.ts'
import { PACKET_PROTOCOLS } from '../../src/explain/packet.ts'
import { ROW_STATES } from '../../src/show/list.ts'

/** The words that are offered when the last one of the line is completed. */
function offered(line: string, runDir = '/run/pvenat'): string[] {
  const words = line.split(' ')
  const script = `${bashCompletion().replaceAll('/run/pvenat', runDir)}
compopt() { :; }
COMP_WORDS=("$@"); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_pvenat; printf '%s\\n' "\${COMPREPLY[@]}"`
  const output = execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' })
  return output.trim().split('\n')
}

test('commands first', () => {
  expect(offered('pvenat ')).toEqual(expect.arrayContaining(Object.keys(COMMANDS)))
  expect(offered('pvenat ro')).toEqual(['rollback'])
  expect(offered('pvenat --no')).toEqual(['--node', '--no-color'])
})

test('then the options of that command, and of no other', () => {
  expect(offered('pvenat rollback --d')).toEqual(['--dry-run'])
  expect(offered('pvenat apply --d')).toEqual([''])
  expect(offered('pvenat --json apply --co')).toEqual(expect.arrayContaining(['--confirm', '--config']))
})

test('files where files are taken', () => {
  expect(offered('pvenat check packa')).toEqual(expect.arrayContaining(['package.json']))
  expect(offered('pvenat list --config packa')).toEqual(expect.arrayContaining(['package.json']))
  expect(offered('pvenat list packa')).toEqual([''])
})

test('states, protocols, and the guests that have rules', () => {
  expect(offered('pvenat list --state ')).toEqual([...ROW_STATES])
  expect(offered('pvenat list --state q')).toEqual(['quarantined'])
  expect(offered('pvenat explain ')).toEqual(expect.arrayContaining([...PACKET_PROTOCOLS]))
  expect(offered('pvenat explain ud')).toEqual(['udp'])
  expect(offered('pvenat explain udp 198')).toEqual([''])
  const folder = mkdtempSync(join(tmpdir(), 'pvenat-completion-'))
  const rows = [{ guest: { vmid: 108, name: '9' } }, { guest: null }, { guest: { vmid: 105, name: 'web' } }]
  for (const text of [JSON.stringify(rows), JSON.stringify(rows, null, 1)]) {
    writeFileSync(join(folder, 'list.json'), text)
    expect(offered('pvenat list --guest ', folder)).toEqual(['105', '108'])
  }
  rmSync(folder, { recursive: true })
  expect(offered('pvenat list --guest ', folder)).toEqual([''])
})
