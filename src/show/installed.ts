/** Which NAT rules the kernel does not hold yet, told from its own rules as they were read. */
import { FAMILIES, type Family } from '../address.ts'
import { shortHash } from '../hash.ts'
import { isLoaded, type Installed, type SavedRule, type SavedTables } from '../ruleset/installed.ts'
import { HOOKS, setsOf, type Rule, type Ruleset, type WrittenChain } from '../ruleset/ruleset.ts'
import { nextHash, ruleText } from '../ruleset/restore-text.ts'

/** Ids of the NAT rules of which a kernel rule or a set is missing, or stands where no packet comes. */
export function missingRules({ chains, sets }: Ruleset, installed: Installed): Set<string> {
  const missing = new Set<string>()
  const current = new Set(sets.filter((set) => isLoaded(set, installed)).map(({ name }) => name))
  const hasSets = (rule: Rule): boolean => setsOf(rule).every(({ name }) => current.has(name))
  for (const family of FAMILIES) {
    const unreached = unreachedChains(chains[family], installed.chains[family])
    for (const chain of chains[family]) {
      const key = `${chain.table} ${chain.name}`
      const saved = unreached.has(key) ? [] : (installed.chains[family].own.get(key) ?? [])
      const isThere = lookup(chain, family, saved)
      chain.rules.forEach((rule, i) => {
        if (rule.serves !== undefined && !(isThere(i) && hasSets(rule))) missing.add(rule.serves)
      })
    }
  }
  return missing
}

/** Each desired rule with its counters; they are 0 for a rule that the kernel does not hold. */
export function countedRules(
  { chains }: Pick<Ruleset, 'chains'>,
  installed: Installed,
): { chain: WrittenChain; rule: Rule; packets: number; bytes: number }[] {
  return FAMILIES.flatMap((family) =>
    chains[family].flatMap((chain) => {
      const saved = installed.chains[family].own.get(`${chain.table} ${chain.name}`)
      const byHash = new Map(saved?.map((one) => [one.hash, one]))
      return chain.rules.map((rule, i) => {
        const { packets = 0, bytes = 0 } = byHash.get(chain.texts[i]?.hash) ?? {}
        return { chain, rule, packets, bytes }
      })
    }),
  )
}

/** Chains, by `TABLE NAME`, that packets do not come to from each hook that shall lead there. */
function unreachedChains(chains: readonly WrittenChain[], { own, hooks }: SavedTables): Set<string> {
  const desired = new Map(
    chains.map(({ table, name, rules }) => [
      `${table} ${name}`,
      rules.flatMap(({ target }) => ('chain' in target ? [`${table} ${target.chain}`] : [])),
    ]),
  )
  const installed = new Map(
    [...own].map(([key, rules]) => {
      const [table = ''] = key.split(' ')
      return [
        key,
        rules
          .flatMap(({ line }) => / -[jg] (PVENAT-\S+)$/.exec(line)?.[1] ?? [])
          .map((to) => `${table} ${to}`),
      ]
    }),
  )
  return new Set(
    HOOKS.flatMap(({ table, from, to }) => {
      const isThere = hooks.has(`${table} ${from} ${to}`)
      const reached = isThere ? reach(installed, `${table} ${to}`) : new Set()
      return [...reach(desired, `${table} ${to}`)].filter((key) => !reached.has(key))
    }),
  )
}

/** All chains that are reached from one, itself included. */
function reach(jumps: ReadonlyMap<string, readonly string[]>, from: string): Set<string> {
  const reached = new Set<string>()
  const left = [from]
  for (let key = left.pop(); key !== undefined; key = left.pop()) {
    const to = jumps.get(key)
    if (!to || reached.has(key)) continue
    reached.add(key)
    left.push(...to)
  }
  return reached
}

/** Whether the rule at an index of a chain is among the saved rules. A saved hash rests on the saved hash before it, so a rule is found at any place. */
function lookup(
  chain: WrittenChain,
  family: Family,
  saved: readonly SavedRule[],
): (index: number) => boolean {
  const hashes = new Set(saved.map(({ hash }) => hash))
  const before = [shortHash(chain.name), ...saved.map(({ hash }) => hash)]
  return (index) => {
    const { hash } = chain.texts[index] ?? {}
    if (hashes.has(hash)) return true
    const rule = chain.rules[index]
    if (!rule) return false
    const text = ruleText(rule, family)
    return saved.some(({ hash: one }, i) => {
      const previous = before[i]
      return previous !== undefined && one === nextHash(previous, text)
    })
  }
}
