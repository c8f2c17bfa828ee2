/** Filters of others that packets meet: tables of nft itself, and those of iptables of both backends but nat. */
import { readFileSync } from 'node:fs'
import { FAMILIES, type Family } from '../address.ts'
import { BACKENDS, saveProgram, type Backend } from '../facts/backend.ts'
import { parseNftables, type Nftables } from '../facts/nftables.ts'
import { FILTER_TABLES, savedFilters } from '../facts/saved-filters.ts'
import { FOREIGN_TIMEOUT_MS, type Answers } from './answers.ts'
import { NOT_STARTED, run } from './exec.ts'

type Filters = Record<Family, Nftables>

/** Undefined where a program does not tell; what it told last stands. */
export function readFilters({ askSeldom }: Answers): Promise<Filters | undefined> {
  return askSeldom('filters', async () => {
    const tables = (await printed('nft', ['list', 'tables']))?.split('\n')
    if (tables === undefined) return undefined
    const [nft, ...saved] = await Promise.all([
      printed('nft', ['-j', 'list', 'ruleset']),
      ...FAMILIES.flatMap((family) => BACKENDS.map((backend) => saveFilters(backend, family, tables))),
    ])
    if (nft === undefined || saved.includes(undefined)) return undefined
    const [legacy4 = '', nft4 = '', legacy6 = '', nft6 = ''] = saved
    const native = parseNftables(nft, { 4: nft4, 6: nft6 })
    const own = native.chains.filter(({ type }) => type !== 'nat')
    const of = (family: Family, legacy: string, other: string): Nftables => ({
      sets: native.sets,
      chains: [...savedFilters(legacy, family, 'legacy'), ...savedFilters(other, family, 'nft'), ...own],
    })
    return { 4: of(4, legacy4, nft4), 6: of(6, legacy6, nft6) }
  })
}

/** The tables in use but nat, which is long. Each is a program more, and asking for a legacy table that is not in use would load it. */
async function saveFilters(
  backend: Backend,
  family: Family,
  nftTables: readonly string[],
): Promise<string | undefined> {
  const [names, ip] =
    family === 4 ? ['/proc/net/ip_tables_names', 'ip'] : ['/proc/net/ip6_tables_names', 'ip6']
  const legacy = linesOf(names)
  const isUsed = (table: string): boolean =>
    backend === 'nft' ? nftTables.includes(`table ${ip} ${table}`) : legacy.includes(table)
  const used = FILTER_TABLES.filter(isUsed)
  const texts = await Promise.all(used.map((one) => printed(saveProgram(backend, family), ['-t', one])))
  return texts.includes(undefined) ? undefined : texts.join('')
}

function linesOf(file: string): string[] {
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
