// What bash offers for a line that is begun; the completion is run, not read.
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { bashCompletion } from '../../install/pages/completions.ts'
import { COMMANDS } from '../../src/commands/table.ts'

/** The words that are offered when the last one of the line is completed. */
function offered(line: string): string[] {
  const words = line.split(' ')
  const script = `${bashCompletion()}
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
