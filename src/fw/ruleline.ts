/** The syntax of a rule line. Facts: pve-firewall Firewall.pm, `parse_fw_rule`. */
import { asciiLower, skipBlanks, skipWord } from './bytes.ts'
import { spanOf, splitComment, type Line } from './line.ts'
import type { FwRule } from './fw-file.ts'
import { LOG_LEVELS } from './options.ts'

type OptionField = 'iface' | 'proto' | 'dport' | 'sport' | 'source' | 'dest' | 'icmp-type'

/** Every spelling, with the one blank that must follow; `--p`, `--i` and `-iface` do not exist. */
const SPELLINGS: readonly (readonly [spelling: string, field: OptionField | 'log'])[] = [
  ['-i ', 'iface'],
  ['-p ', 'proto'],
  ['-proto ', 'proto'],
  ['--proto ', 'proto'],
  ...(['dport', 'sport', 'source', 'dest', 'log', 'icmp-type'] as const).flatMap(
    (field) =>
      [
        [`-${field} `, field],
        [`--${field} `, field],
      ] as const,
  ),
]

/** A level need not end where the word ends: `-log infox` leaves an `x` behind, which nothing then takes. */
function endOfLevel(text: string, from: number): number {
  const level = LOG_LEVELS.find((one) => text.startsWith(one, from))
  return level === undefined ? from : from + level.length
}

/** Reads options from `from` on into the rule; returns where it found none, or `to` when it read all. */
function readOptions(rule: FwRule, line: Line, from: number, to: number): number {
  const { text } = line
  for (let at = from; at < to;) {
    const found = SPELLINGS.find(([spelling]) => text.startsWith(spelling, at))
    if (found === undefined) return at
    const [spelling, field] = found
    if (rule.type === 'group' && field !== 'iface') return at
    const start = at + spelling.length
    const end = field === 'log' ? endOfLevel(text, start) : skipWord(text, start, to)
    if (end <= start) return at
    rule[field] = text.slice(start, end)
    rule.spans[field] = spanOf(line, start, end)
    at = skipBlanks(text, end, to)
  }
  return to
}

const MACRO_ACTION = /\((?:ACCEPT|DROP|REJECT)\)$/

/** Splits `SSH(ACCEPT)` at its last parenthesis; only in, out and forward rules have macros. */
function splitMacro(rule: FwRule, line: Line, from: number): void {
  if (rule.type !== 'in' && rule.type !== 'out' && rule.type !== 'forward') return
  // The longest ending is `(ACCEPT)`; a look at more than that would be slow for a long word.
  const at = MACRO_ACTION.exec(rule.action.slice(-8))?.[0].length ?? 0
  const open = rule.action.length - at
  if (at === 0 || open === 0) return
  const macro = rule.action.slice(0, open)
  rule.action = rule.action.slice(open + 1, -1)
  rule.macro = macro
  rule.spans.macro = spanOf(line, from, from + open)
  rule.spans.action = spanOf(line, from + open + 1, from + open + 1 + rule.action.length)
}

/**
 * Reads `[|]TYPE ACTION [options] [# comment]`. The rule is not judged yet: it has no errors and no ipversion, and its macro
 * is as typed. A reason, in upstream's words, when the line is no rule.
 */
export function parseRuleLine(line: Line): { rule: FwRule } | { reason: string } {
  const { text } = line
  const { end, comment, commentSpan } = splitComment(line)
  const enable = text.charAt(line.from) === '|' ? 0 : 1
  const typeFrom = enable === 0 ? line.from + 1 : line.from
  const typeTo = skipWord(text, typeFrom, end)
  const actionFrom = skipBlanks(text, typeTo, end)
  const actionTo = skipWord(text, actionFrom, end)
  if (typeTo === typeFrom || actionTo === actionFrom)
    return { reason: `unable to parse rule: ${text.slice(typeFrom, Math.max(end, typeFrom))}` }
  const rule: FwRule = {
    type: asciiLower(text.slice(typeFrom, typeTo)),
    action: text.slice(actionFrom, actionTo),
    enable,
    span: spanOf(line),
    spans: { type: spanOf(line, typeFrom, typeTo), action: spanOf(line, actionFrom, actionTo) },
  }
  if (comment !== undefined) rule.comment = comment
  if (commentSpan !== undefined) rule.spans.comment = commentSpan
  splitMacro(rule, line, actionFrom)
  const rest = readOptions(rule, line, skipBlanks(text, actionTo, end), end)
  return rest < end ? { reason: `unable to parse rule parameters: ${text.slice(rest, end)}` } : { rule }
}
