// On a terminal prose is wrapped; lines to copy into a shell are not.
import { afterEach, expect, test, vi } from 'vitest'
import { cli } from '../../src/cli.ts'
import { COMMANDS } from '../../src/commands/table.ts'
import { renderImport, renderPvesh } from '../../src/show/import.ts'
import { welcome } from '../demo/shell.ts'
import { importLines, save } from '../import/saved.ts'

afterEach(() => void vi.restoreAllMocks())

const LINES = [
  '-A PREROUTING -i vmbr0 -s 198.51.100.7/32 -p tcp -m tcp --dport 822 -j DNAT --to-destination 10.10.10.99:22',
  '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE',
]

test('the commands of import --pvesh stay whole on a terminal of 80 columns', async () => {
  const { all } = await importLines(save(LINES))
  const command = COMMANDS['import'] ?? expect.unreachable()
  vi.spyOn(command, 'run').mockImplementation(({ io, values }) => {
    io.stdout(values['pvesh'] === true ? renderPvesh(all) : renderImport(all))
    return Promise.resolve(0)
  })
  const says = async (...argv: string[]): Promise<string> => {
    let text = ''
    const stdout = (part: string): void => void (text += part)
    const size = () => ({ columns: 80, rows: 24 })
    await cli(argv, { stdout, stderr: stdout, isTerminal: false, size })
    return text
  }
  expect(renderPvesh(all)).toMatch(/^pvesh .{80}/m)
  expect(await says('import', '--pvesh')).toBe(renderPvesh(all))
  expect(await says('import')).not.toBe(renderImport(all))
})

test.each(Object.keys(COMMANDS))('prose of %s fits 60 columns, unless it is for programs', async (name) => {
  const command = COMMANDS[name] ?? expect.unreachable()
  const sentence = `${'word '.repeat(40)}end\n`
  vi.spyOn(command, 'run').mockImplementation(({ io }) => {
    io.stdout(sentence)
    io.stderr(sentence)
    return Promise.resolve(0)
  })
  const size = () => ({ columns: 60, rows: 24 })
  let text = ''
  const write = (part: string): void => void (text += part)
  await cli([name], { stdout: write, stderr: write, isTerminal: false, size })
  expect(text.replace(/\s+/g, ' ')).toBe(`${sentence}${sentence}`.replace(/\s+/g, ' '))
  const widest = Math.max(...text.split('\n').map((line) => line.length))
  const isForPrograms = ['run', 'compile', 'parse', 'metrics'].includes(name)
  expect(widest <= 60).toBe(!isForPrograms)
})

test('what the shell of the demo says fits the terminal, too', () => {
  for (const columns of [60, 80]) {
    const lines = welcome(columns).split('\n')
    expect(lines.filter((line) => line.length > columns)).toEqual([])
  }
})
