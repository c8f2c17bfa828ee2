/**
 * New marks are set before the nat table follows: there is no commit over two tables, and an answer of a new forward that came before its
 * mark would leave by the default route. Old marks go after the nat table, when the table mangle is written as it shall be.
 *
 * A packet of a guest may be led to an uplink before its rule translates it there. Then PVENAT-POSTROUTING masquerades what has a mark and was
 * not translated; where it does not do that yet, the marks of guests' packets wait.
 */
import type { SavedTables } from './installed.ts'
import type { RuleText, Table } from './ruleset.ts'
import { likeness } from './restore-text.ts'

interface MarkChain {
  table: Table
  name: string
  rules: readonly RuleText[]
}

/** Chains whose marks lead packets of guests out; the others are for answers. */
const GUESTS = /PVENAT-(LEAVING|STAYING)$/

/** The lines for the table mangle that come before the table nat; none where nothing is marked yet. */
export function marksFirst(wanted: readonly MarkChain[], { own, hooks }: SavedTables): string[] {
  if (!own.has('mangle PVENAT-UPLINK') || !hooks.has('mangle PREROUTING PVENAT-UPLINK')) return []
  const missing = ({ table, name, rules }: MarkChain): string[] => {
    const old = own.get(`${table} ${name}`) ?? []
    // A chain that stays is not written again behind nat.
    if (rules.length === old.length && rules.every(({ hash }, i) => hash === old[i]?.hash)) return []
    const known = new Set(old.map(({ line }) => likeness(line)))
    return rules.map(({ line }) => line).filter((line) => !known.has(likeness(line)))
  }
  const translates = wanted.filter(({ table }) => table === 'nat').flatMap(missing)
  const isTranslated = !translates.some((line) => line.includes(' --mark '))
  const isInTime = (text: string): boolean => isTranslated || !GUESTS.test(text)
  const chains = wanted
    .filter(({ table, name }) => table === 'mangle' && name !== 'PVENAT-MSS' && isInTime(name))
    .map((chain) => ({
      name: chain.name,
      isNew: !own.has(`mangle ${chain.name}`),
      lines: missing(chain).filter(isInTime),
    }))
  return [
    ...chains.filter(({ isNew }) => isNew).map(({ name }) => `:${name} - [0:0]`),
    ...chains.flatMap(({ lines, isNew }) => (isNew ? lines : added(lines))),
  ]
}

/**
 * In a chain that there is, packets of guests keep the marks that they have: choices of uplinks are put in front, where older ones and those of
 * standing connections overrule them.
 */
function added(missing: readonly string[]): string[] {
  const isChoice = (line: string): boolean =>
    / PVENAT-LEAVING .* MARK /.test(line) && !line.includes(' --ctrepldst ')
  const choices = missing.filter((line) => isChoice(line) && !line.includes(' 0x0/'))
  return [
    ...choices.reverse().map((line) => line.replace(/^-A (\S+)/, '-I $1 1')),
    ...missing.filter((line) => !isChoice(line)),
  ]
}
