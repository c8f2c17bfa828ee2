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
    const [nft, ...saved] = await Promise.all([
      printed('nft', ['-j', 'list', 'ruleset']),
      ...FAMILIES.flatMap((family) => BACKENDS.map((backend) => saveFilters(backend, family))),
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

/** Without the table nat, which is long. Asking for a legacy table that is not in use would load it. */
async function saveFilters(backend: Backend, family: Family): Promise<string | undefined> {
  const names = family === 4 ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names'
  const used = backend === 'nft' ? FILTER_TABLES : FILTER_TABLES.filter((one) => tables(names).includes(one))
  const texts = await Promise.all(used.map((one) => printed(saveProgram(backend, family), ['-t', one])))
  return texts.includes(undefined) ? undefined : texts.join('')
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
