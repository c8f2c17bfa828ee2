/** The lines of [ALIASES] and [IPSET]. Facts: pve-firewall Firewall.pm, `parse_alias`, `generic_fw_config_parser`. */
import { parseCidr } from './addresses.ts'
import { isBlank, isTrue, skipBlanks, skipWord, trimEnd } from './bytes.ts'
import { spanOf, splitComment, type Line } from './line.ts'
import type { FwAlias, FwSetEntry } from './fw-file.ts'
import { aliasReference } from './names.ts'
import { findAlias, type Scope } from './scope.ts'

/** Reads `name address[/length] [# comment]`, with exactly one blank behind the name; the name may be anything. */
export function parseAliasLine(line: Line): { alias: FwAlias } | { reason: string } {
  const { text, from } = line
  const { end, comment } = splitComment(line)
  const to = comment === undefined ? end : trimEnd(text, from, end)
  const nameTo = skipWord(text, from, to)
  // Blanks at the end of a line without comment are not taken off: a carriage return spoils it.
  if (nameTo === from || nameTo + 1 >= to || skipWord(text, nameTo + 1, to) !== to)
    return { reason: `unable to parse alias: ${text.slice(from, to)}` }
  const parsed = parseCidr(text.slice(nameTo + 1, to))
  if ('error' in parsed) return { reason: parsed.error }
  const alias: FwAlias = {
    name: text.slice(from, nameTo),
    cidr: parsed.cidr,
    ipversion: parsed.version,
    span: spanOf(line),
  }
  if (isTrue(comment)) alias.comment = comment
  return { alias }
}

const ZERO_PREFIX = 'a zero prefix is not allowed in ipset entries'

function isZeroPrefix(cidr: string): boolean {
  return /^0+$/.test(cidr.slice(cidr.lastIndexOf('/') + 1)) && cidr.includes('/')
}

/** The address as upstream keeps it, and what it says against it. */
function judgeCidr(text: string, scope: Scope, seen: ReadonlySet<string>): { cidr: string; error?: string } {
  let cidr = text
  let error: string | undefined
  const reference = aliasReference(text)
  if (reference === undefined) {
    const parsed = parseCidr(text)
    if ('error' in parsed) error = parsed.error
    else cidr = parsed.cidr
  } else {
    const alias = findAlias(reference, scope)
    if (alias === undefined) error = `no such alias '${reference.name}'`
    else if (isZeroPrefix(alias.cidr)) error = ZERO_PREFIX
  }
  if (error === undefined && seen.has(cidr)) error = `duplicate ipset entry for '${cidr}'`
  if (isZeroPrefix(cidr)) error = ZERO_PREFIX
  return error === undefined ? { cidr } : { cidr, error }
}

/**
 * Reads `[!]address [# comment]`; `!` is nomatch. An entry with an error is kept, and never compiled. `seen` holds the
 * addresses of the set so far and gains this one.
 */
export function parseSetLine(line: Line, scope: Scope, seen: Set<string>): FwSetEntry {
  const { text } = line
  const { end, comment } = splitComment(line)
  const from = skipBlanks(text, line.from, end)
  const to = trimEnd(text, from, end)
  const bang = text.charAt(line.from) === '!'
  const behind = bang ? skipBlanks(text, from + 1, to) : from
  // A lone `!` is taken for the address.
  const nomatch = bang && behind < to
  const start = nomatch ? behind : from
  const oneWord = start < to && !isBlank(text.charCodeAt(start)) && skipWord(text, start, to) === to
  const { cidr, error } = judgeCidr(text.slice(start, to), scope, seen)
  const problem = oneWord ? error : 'value does not look like a valid IP address or CIDR network'
  const entry: FwSetEntry = { cidr, span: spanOf(line) }
  if (nomatch) entry.nomatch = 1
  if (isTrue(comment)) entry.comment = comment
  if (problem !== undefined) entry.errors = { cidr: problem }
  seen.add(cidr)
  return entry
}
