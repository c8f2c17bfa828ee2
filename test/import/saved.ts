/** NAT rules of others on a node alone with guest 105, and what becomes of them. */
import type { NodeFacts } from '../../src/facts/node-facts.ts'
import { NO_NFTABLES } from '../../src/facts/nftables.ts'
import { ruleLine } from '../../src/import/guirule.ts'
import { importAll, type Imported } from '../../src/import/trial.ts'
import { readWritten } from '../../src/import/written.ts'
import type { View } from '../../src/nat/view.ts'
import { compile } from '../../src/pipeline.ts'
import type { Look } from '../../src/read.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

export const EMPTY = { 4: '', 6: '' }

export function saved(lines: readonly string[], chains: readonly string[] = []): string {
  const names = ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING', ...chains]
  return ['*nat', ...names.map((name) => `:${name} ACCEPT [0:0]`), ...lines, 'COMMIT', ''].join('\n')
}

const ONE = 'external vmbr0 203.0.113.2/24\ninternal vmbr1 10.10.10.1/24\n'
const on = new Map([
  ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n'],
  ['.members', ''],
])

export async function importLines(
  parts: Partial<Parameters<typeof readWritten>[0]>,
  network = ONE,
  files: Readonly<Record<string, string>> = {},
): Promise<{ look: Look; view: View; all: Imported[] }> {
  const { look } = await worldOf({ ...caseOf(new Map([...on, ...Object.entries(files)])), network })
  const written = readWritten({
    tables: { legacy: EMPTY, nft: EMPTY },
    nftables: NO_NFTABLES,
    bootLines: [],
    ...parts,
  })
  return { look, view: compile(look).view, all: importAll(look, written) }
}

export const save = (lines: readonly string[]): Pick<NodeFacts, 'tables'> => ({
  tables: { legacy: EMPTY, nft: { 4: saved(lines), 6: '' } },
})

export function says({ all }: Awaited<ReturnType<typeof importLines>>): string[] {
  return all.map(({ becomes }) =>
    'rule' in becomes
      ? `${becomes.rule.file} ${ruleLine(becomes.rule)}`
      : 'builtIn' in becomes
        ? `built in: ${becomes.builtIn}`
        : `stays: ${becomes.stays}`,
  )
}
