/** Which backend of iptables is the node's: the one that plain `iptables` means, unless the kernel or other programs rule it out. */
import { existsSync } from 'node:fs'
import { readFile, realpath } from 'node:fs/promises'
import { release } from 'node:os'
import { FAMILIES, type Family } from '../address.ts'
import { otherBackend, saveProgram, type Backend } from '../facts/backend.ts'
import { incompatibleTables } from '../facts/nftables.ts'
import type { Settings } from '../settings.ts'
import { FOREIGN_TIMEOUT_MS, NO_ANSWERS, type Answers } from './answers.ts'
import { NOT_STARTED, run } from './exec.ts'

/** The backend that plain `iptables` means on this node: pve-firewall sets the alternative to legacy at each start. */
export async function currentBackend(): Promise<Backend> {
  const target = await realpath('/usr/sbin/iptables').catch(() => '')
  return target.includes('legacy') ? 'legacy' : 'nft'
}

/** Whether a backend may be asked for rules: to ask for legacy tables loads their modules, and where none is in use there is nothing in them. */
function hasTables(backend: Backend, family: Family): boolean {
  const names = family === 4 ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names'
  return backend === 'nft' || existsSync(names)
}

/** The texts that `read` gets from the save programs of a backend; '' of a family that is not in use. */
export async function savedBy(
  backend: Backend,
  read: (program: string) => Promise<string>,
): Promise<Record<Family, string>> {
  const [v4 = '', v6 = ''] = await Promise.all(
    FAMILIES.map(async (family) => (hasTables(backend, family) ? read(saveProgram(backend, family)) : '')),
  )
  return { 4: v4, 6: v6 }
}

interface Choice {
  backend: Backend
  /** A clause. */
  why: string
}

/** The backend to use: by the settings, else the one that plain `iptables` means, if it can be used. */
export async function chooseBackend(settings: Settings, answers?: Answers): Promise<Backend> {
  return (await choiceOf(settings, answers)).backend
}

/** The same, and why. */
export async function choiceOf({ backend }: Settings, answers: Answers = NO_ANSWERS): Promise<Choice> {
  if (backend !== 'auto') return { backend, why: 'the settings say so' }
  const plain = await currentBackend()
  // '' when it can be used.
  const unusable = async (one: Backend): Promise<string> =>
    (await answers.askSeldom(`backend ${one}`, () =>
      one === 'legacy' ? noLegacy() : foreignToIptables(),
    )) ?? ''
  const why = `plain iptables is iptables-${plain}`
  const problem = await unusable(plain)
  if (problem === '') return { backend: plain, why }
  const other = otherBackend(plain)
  if ((await unusable(other)) === '') return { backend: other, why: `${why}, but ${problem}` }
  return { backend: plain, why: `${why}; but ${problem}, and iptables-${other} cannot be used either` }
}

/**
 * Why legacy tables cannot be used; '' when they can. The service may not load modules, but pve-firewall does, so it is enough that the kernel
 * has them.
 */
async function noLegacy(): Promise<string> {
  if (hasTables('legacy', 4)) return ''
  const texts = await Promise.all(
    ['modules.dep', 'modules.builtin'].map((name) =>
      readFile(`/lib/modules/${release()}/${name}`, 'utf8').catch(() => undefined),
    ),
  )
  const known = texts.filter((text) => text !== undefined)
  const isMissing = known.length > 0 && !known.some((text) => text.includes('/iptable_nat.ko'))
  return isMissing ? 'this kernel has no legacy tables' : ''
}

/**
 * A table that nft itself made under a name that iptables-nft wants; '' when there is none, undefined when the program cannot tell. It prints a
 * comment for such tables and ends with 0.
 */
async function foreignToIptables(): Promise<string | undefined> {
  const tables = await Promise.all(
    FAMILIES.map(async (family) => {
      const { code, stdout } = await run(saveProgram('nft', family), [], '', {
        timeoutMs: FOREIGN_TIMEOUT_MS,
      })
      if (code !== 0 && code !== NOT_STARTED) return undefined
      return incompatibleTables(stdout).map((table) => `${family === 4 ? 'ip' : 'ip6'} ${table}`)
    }),
  )
  const first = tables.flat().find((table) => table !== undefined)
  if (first !== undefined) return `table ${first} was made by nft itself, so that iptables-nft cannot use it`
  return tables.includes(undefined) ? undefined : ''
}
