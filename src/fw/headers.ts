/** Section headers. Facts: pve-firewall Firewall.pm, `generic_fw_config_parser`. */
import { asciiLower, skipBlanks, skipWord, trimEnd } from './bytes.ts'
import { isName, MAX_GROUP_NAME, MAX_SET_NAME } from './names.ts'

/** A header; `error` when its name is bad, which leaves the lines below it without a section. */
export type Header =
  | { section: 'options' | 'aliases' | 'rules' }
  | { section: 'ipset' | 'group'; name: string; comment?: string }
  | { error: string; of: 'ipset' | 'group' }

/**
 * The end of a name in `[ipset name] # comment`: the last `]` of its run of non-blanks behind which nothing or a comment
 * follows, -1 if there is none.
 */
function endOfName(line: string, from: number): number {
  const end = skipWord(line, from, line.length)
  for (let at = line.lastIndexOf(']', end - 1); at > from; at = line.lastIndexOf(']', at - 1)) {
    const next = skipBlanks(line, at + 1, line.length)
    if (next === line.length || line.charAt(next) === '#') return at
  }
  return -1
}

function named(line: string, section: 'ipset' | 'group'): Header | undefined {
  const opening = `[${section}`
  const from = skipBlanks(line, opening.length, line.length)
  if (from === opening.length || asciiLower(line.slice(0, opening.length)) !== opening) return undefined
  const end = endOfName(line, from)
  if (end < 0) return undefined
  const name = asciiLower(line.slice(from, end))
  const kind = section === 'ipset' ? 'ipset' : 'security group'
  if (name.length > (section === 'ipset' ? MAX_SET_NAME : MAX_GROUP_NAME))
    return { error: `${kind} name too long`, of: section }
  if (!isName(name)) return { error: `invalid ${kind} name '${name}'`, of: section }
  const hash = line.indexOf('#', end)
  if (hash < 0) return { section, name }
  const start = skipBlanks(line, hash + 1, line.length)
  return { section, name, comment: line.slice(start, trimEnd(line, start, line.length)) }
}

/** Reads a trimmed line as a header of any section, honoured by the file or not; undefined when it is none. */
export function parseHeader(line: string): Header | undefined {
  if (!line.startsWith('[')) return undefined
  if (line.length <= '[options]'.length) {
    const lower = asciiLower(line)
    for (const section of ['options', 'aliases', 'rules'] as const)
      if (lower === `[${section}]`) return { section }
  }
  return named(line, 'ipset') ?? named(line, 'group')
}
