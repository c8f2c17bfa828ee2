// On a terminal prose is wrapped; lines to copy into a shell are not.
import { afterEach, expect, test, vi } from 'vitest'
import { cli } from '../../src/cli.ts'
import { COMMANDS } from '../../src/commands/table.ts'
import { renderImport, renderPvesh } from '../../src/show/import.ts'
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
