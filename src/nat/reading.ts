/** What is said of rules marked NAT without knowing the node. */
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import type { FwFile, FwRule, RuleField } from '../fw/fw-file.ts'
import { parseComment, type NatComment } from './comment.ts'
import { inWords, type Names } from './complaints.ts'
import { skippedMarked } from './marked.ts'
import { nearMiss } from './nearmiss.ts'
import { aroundOf } from './pairing.ts'
import { isMarked } from './words.ts'

/** What can be said of a rule and its comment without knowing the node. */
export function ruleProblems(rule: FwRule, place: Place, comment: NatComment, names: Names): Diagnostic[] {
  if (rule.type === 'forward') return [diagnose('forward-rule', place, {})]
  const errors = Object.entries(rule.errors ?? {}).map(([field, reason]) => {
    const span = rule.spans[field as RuleField] ?? rule.span
    const facts = { field, ...inWords(rule, field as RuleField, reason, names) }
    return diagnose('rule-invalid', { file: place.file, span }, facts)
  })
  return errors.length > 0 ? errors : comment.problems
}

/** What can be said of a file without knowing the node that it is for. */
export function readingProblems(
  fw: FwFile,
  file: string,
  services: ReadonlyMap<string, number>,
): Diagnostic[] {
  const rules = [...fw.rules, ...[...fw.groups.values()].flatMap((group) => group.rules)]
  const names = file.endsWith('cluster.fw') ? { cluster: fw } : { cluster: NO_NAMES, own: fw }
  return [
    ...skippedMarked(fw, file),
    ...rules.flatMap((rule) => {
      const place = { file, span: rule.spans.comment ?? rule.span }
      const around = aroundOf(rule, NO_NETWORK, services)
      if (!isMarked(rule.comment)) return nearMiss(rule.comment, place, around) ?? []
      const comment = parseComment(rule.comment, place, around)
      return ruleProblems(rule, { file, span: rule.span }, comment, names)
    }),
  ]
}

const NO_NETWORK = { external: [], internal: [], links: new Map<string, string>() }
const NO_NAMES: Names['cluster'] = { aliases: new Map(), ipset: new Map() }
