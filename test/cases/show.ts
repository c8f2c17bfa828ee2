/** Rules and diagnostics of a case as its golden parts have them. */
import { formatIp, formatRange } from '../../src/address.ts'
import type { Diagnostic } from '../../src/diagnostic.ts'
import { shortHash } from '../../src/hash.ts'
import type { Outcome } from '../../src/pipeline.ts'
import type { Chain } from '../../src/ruleset/ruleset.ts'
import type { Plan } from '../../src/ruleset/plan.ts'
import { chainText, withoutMark } from '../../src/ruleset/restore-text.ts'
import { locate, plain, renderDiagnostic } from '../../src/show/diagnostics.ts'

/** The rules that serve a NAT rule, and the sets that they use, marks and routing of several uplinks; what every node has (hooks, zone, hairpin) is left out. */
export function showRules({ ruleset, view }: Outcome): string {
  const lines = ([4, 6] as const).flatMap((family) => {
    const external = view.network.external.flatMap(({ addresses }) =>
      addresses.filter((address) => address.family === family),
    )
    const rules = ruleset.chains[family].flatMap((chain) =>
      chainText(chain, family)
        .filter((_, i) => chain.table === 'mangle' || chain.rules[i]?.serves !== undefined)
        .map(({ line }) => `${chain.table}${family === 6 ? '6' : ''} ${strip(line)}`),
    )
    const { rules: routingRules, routes } = ruleset.routing[family]
    const routing = [
      ...routingRules.map((line) => `ip -${family} rule add ${line}`),
      ...routes.map((line) => `ip -${family} route replace ${line}`),
    ]
    return [...partly(ruleset.chains[family], external.map(formatRange)), ...rules, ...routing]
  })
  const sets = ruleset.sets
    .filter(({ name }) => lines.some((line) => line.split(' ').includes(name)))
    .map(({ name, entries }) => `set ${name}: ${entries.join(', ')}`)
  const named = view.network.external
    .flatMap(({ addresses }) => addresses)
    .filter(({ family }) => family === 6)
    .map(({ lo }) => formatIp(6, lo))
  const text = [...sets, ...lines].join('\n')
  return named.reduce((all, ip) => all.replaceAll(`PVENAT-${shortHash(ip)}`, `PVENAT-[${ip}]`), text)
}

/** Everything that the restore programs are given. */
export function showWhole({ sets, tables }: Plan): string {
  const families = ([4, 6] as const).filter((family) => tables[family] !== '')
  const texts = families.map((family) => {
    const lines = tables[family].trim().split('\n').map(withoutMark)
    return `# ip${family === 6 ? '6' : ''}tables-restore --noflush\n${lines.join('\n')}`
  })
  return [...(sets === '' ? [] : [`# ipset restore\n${sets.trim()}`]), ...texts].join('\n')
}

/** The common chain serves every external address; where it does not, that is worth a line. */
function partly(chains: readonly Chain[], external: readonly string[]): string[] {
  const jumps = chains
    .filter(({ name }) => name === 'PVENAT-PREROUTING')
    .flatMap(({ rules }) => rules)
    .flatMap(({ target, destination }) =>
      target.kind === 'jump' && target.chain === 'PVENAT-DNAT' && Array.isArray(destination?.ranges)
        ? destination.ranges.map(formatRange)
        : [],
    )
    .filter((address) => external.includes(address))
  return jumps.length > 0 && jumps.length < external.length ? [`PVENAT-DNAT only at ${jumps.join(', ')}`] : []
}

function strip(line: string): string {
  return line
    .replace(/^-A /, '')
    .replace(/ -m comment --comment \S+/, '')
    .replace(/ -m \S+/g, '')
}

/** As `check` shows them to a person, with the paths of files below the pve directory. */
export function showDiagnostics(
  diagnostics: readonly Diagnostic[],
  sources: ReadonlyMap<string, string>,
): string {
  const pveDir = '/etc/pve'
  return locate(diagnostics, sources, pveDir)
    .map((one) => renderDiagnostic(one, sources, pveDir, plain).replace(`${pveDir}/`, ''))
    .join('')
    .trim()
}
