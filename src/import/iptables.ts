/** NAT rules as the save programs print them. */
import type { Family } from '../address.ts'
import { saveProgram, type Backend } from '../facts/backend.ts'
import { linesOfTable, tokens } from '../facts/foreign.ts'
import { OWN_CHAIN } from '../ruleset/ruleset.ts'
import { HOOKS, type Hook, type Written } from './foreign-rule.ts'
import { BEHIND, interpret } from './words.ts'

type Chains = Map<string, { line: string; words: string[] }[]>

function chainsOf(text: string, table: string): Chains {
  const chains: Chains = new Map()
  for (const line of linesOfTable(text, table)) {
    const [first = '', chain = '', ...words] = tokens(line)
    if (first.startsWith(':')) chains.set(first.slice(1), [])
    if (first === '-A') chains.get(chain)?.push({ line, words })
  }
  return chains
}

/** The rules that translate or set a zone, each with the conditions of the jumps that lead to it. */
export function savedRules(text: string, table: 'raw' | 'nat', backend: Backend, family: Family): Written[] {
  const chains = chainsOf(text, table)
  const found: Written[] = []
  const visit = (hook: Hook, chain: string, before: readonly string[], path: readonly string[]): void => {
    let returned: string[] = []
    for (const { line, words } of chains.get(chain) ?? []) {
      const conditions = [...before, ...returned, ...words]
      const at = words.findIndex((word) => word === '-j' || word === '-g')
      const target = words[at + 1] ?? ''
      if (OWN_CHAIN.test(target) || path.includes(target)) continue
      if (chains.has(target)) {
        visit(hook, target, [...before, ...returned, ...words.slice(0, at)], [...path, target])
        continue
      }
      // What it lets out of the chain does not meet the rules behind it.
      if (target === 'RETURN' && path.length > 0) returned = [...returned, `${BEHIND}${line}`]
      if (!TARGETS.has(target)) continue
      const read = interpret(conditions, family)
      found.push({
        ...read,
        from: saveProgram(backend, family),
        text: line,
        family,
        hook,
        loaded: { backend, table, chain, line },
      })
    }
  }
  for (const hook of HOOKS) visit(hook, hook, [], [])
  return found
}

/** ACCEPT and RETURN keep packets from what stands behind them. */
const TARGETS = new Set(['DNAT', 'SNAT', 'MASQUERADE', 'REDIRECT', 'NETMAP', 'CT', 'ACCEPT', 'RETURN'])
