/** Filters of others that forwarded packets meet: tables of nft itself, and FORWARD of both backends. */
import { readFileSync } from 'node:fs'
import { FAMILIES, type Family } from '../address.ts'
import { BACKENDS, saveProgram, type Backend } from '../facts/backend.ts'
import { parseNftables, type Nftables } from '../facts/nftables.ts'
import { savedForward } from '../facts/saved-forward.ts'
import { FOREIGN_TIMEOUT_MS, type Answers } from './answers.ts'
import { NOT_STARTED, run } from './exec.ts'

type Filters = Record<Family, Nftables>

/** Undefined where a program does not tell; what it told last stands. */
export function readFilters({ askSeldom }: Answers): Promise<Filters | undefined> {
  return askSeldom('filters', async () => {
    const [nft, ...saved] = await Promise.all([
      printed('nft', ['-j', 'list', 'ruleset']),
      ...FAMILIES.flatMap((family) => BACKENDS.map((backend) => saveForward(backend, family))),
    ])
    if (nft === undefined || saved.includes(undefined)) return undefined
    const [legacy4 = '', nft4 = '', legacy6 = '', nft6 = ''] = saved
    const native = parseNftables(nft, { 4: nft4, 6: nft6 })
    // Of iptables-nft only the table filter was asked for.
    const own = native.chains.filter(
      ({ family, table, type, hook }) =>
        !(family !== 'inet' && OTHER_TABLES.includes(table)) &&
        (hook === '' || (hook === 'forward' && type === 'filter')),
    )
    const of = (family: Family, legacy: string, other: string): Nftables => ({
      sets: native.sets,
      chains: [...savedForward(legacy, family, 'legacy'), ...savedForward(other, family, 'nft'), ...own],
    })
    return { 4: of(4, legacy4, nft4), 6: of(6, legacy6, nft6) }
  })
}

const OTHER_TABLES = ['raw', 'mangle', 'nat', 'security']

/** Asking for a legacy table that is not in use would load it. */
function saveForward(backend: Backend, family: Family): Promise<string | undefined> {
  const names = family === 4 ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names'
  const isUsed = backend === 'nft' || tables(names).includes('filter')
  return isUsed ? printed(saveProgram(backend, family), ['-t', 'filter']) : Promise.resolve('')
}

function tables(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}

/** '' where the program is missing. */
async function printed(file: string, args: readonly string[]): Promise<string | undefined> {
  const { code, stdout } = await run(file, args, '', { timeoutMs: FOREIGN_TIMEOUT_MS })
  if (code === NOT_STARTED) return ''
  return code === 0 ? stdout : undefined
}
