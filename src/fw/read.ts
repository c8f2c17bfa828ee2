/** Reads a whole .fw file. Facts: pve-firewall Firewall.pm, `generic_fw_config_parser`. */
import { asciiLower, decodeUtf8, isTrue, skipBlanks } from './bytes.ts'
import { parseAliasLine, parseSetLine } from './entries.ts'
import { parseHeader, type Header } from './headers.ts'
import { lines, spanOf, splitComment, type Line } from './line.ts'
import type { FwFile, FwGroup, FwRule, FwSet, ReadContext, RuleEnv, SkippedLine } from './fw-file.ts'
import { parseOption, type OptionKind } from './options.ts'
import { parseRuleLine } from './ruleline.ts'
import type { Scope } from './scope.ts'
import { judgeRule } from './verify.ts'

/** Which file is read: it decides the sections that count and how rules are judged. */
export type FileKind = 'cluster' | 'host' | 'vm' | 'ct' | 'vnet'

type SectionName = 'options' | 'aliases' | 'rules' | 'ipset' | 'group'

const GUEST_SECTIONS: readonly SectionName[] = ['options', 'aliases', 'rules', 'ipset']

const SECTIONS: Readonly<Record<FileKind, readonly SectionName[]>> = {
  cluster: [...GUEST_SECTIONS, 'group'],
  vm: GUEST_SECTIONS,
  ct: GUEST_SECTIONS,
  host: ['options', 'rules'],
  vnet: ['options', 'rules'],
}

const OPTION_KIND: Readonly<Record<FileKind, OptionKind>> = {
  cluster: 'cluster',
  host: 'host',
  vm: 'guest',
  ct: 'guest',
  vnet: 'vnet',
}

/** The section that the line at hand stands in. */
type Section =
  | { name: 'none' | 'options' | 'aliases' | 'rules' }
  | { name: 'ipset'; set: FwSet; seen: Set<string> }
  | { name: 'group'; group: FwGroup }

interface Reading {
  file: FwFile
  kind: FileKind
  context: ReadContext
  /** How rules and ipset entries of this file find names; a group of cluster.fw has no file of its own. */
  scope: Scope
  groupScope: Scope
}

function emptyFile(): FwFile {
  return { options: {}, aliases: new Map(), ipset: new Map(), groups: new Map(), rules: [], skipped: [] }
}

function begin(kind: FileKind, context: ReadContext): Reading {
  const file = emptyFile()
  const cluster = kind === 'cluster' ? file : context.cluster
  const shared: Scope = {
    ...(cluster === undefined ? {} : { cluster }),
    ...(context.sdnSets === undefined ? {} : { sdnSets: context.sdnSets }),
  }
  return { file, kind, context, scope: { ...shared, own: file }, groupScope: shared }
}

function skip({ file }: Reading, line: Line, reason: string): void {
  const { comment } = splitComment(line)
  const skipped: SkippedLine = { span: spanOf(line), reason }
  if (comment !== undefined) skipped.comment = comment
  file.skipped.push(skipped)
}

/** A repeated header begins its set or group anew, but the old comment stays if the new one has none. */
function renew(old: { comment?: string } | undefined, comment: string | undefined): { comment?: string } {
  const text = isTrue(comment) ? decodeUtf8(comment) : old?.comment
  return text === undefined ? {} : { comment: text }
}

function open({ file }: Reading, header: Exclude<Header, { error: string }>): Section {
  if (header.section === 'ipset') {
    const set: FwSet = { ...renew(file.ipset.get(header.name), header.comment), entries: [] }
    file.ipset.set(header.name, set)
    return { name: 'ipset', set, seen: new Set() }
  }
  if (header.section === 'group') {
    const group: FwGroup = { ...renew(file.groups.get(header.name), header.comment), rules: [] }
    file.groups.set(header.name, group)
    return { name: 'group', group }
  }
  return { name: header.section }
}

function readRule(reading: Reading, line: Line, into: FwRule[], env: RuleEnv): void {
  const parsed = parseRuleLine(line)
  if ('reason' in parsed) return skip(reading, line, parsed.reason)
  const scope = env === 'group' ? reading.groupScope : reading.scope
  const reason = judgeRule(parsed.rule, { env, scope, context: reading.context })
  if (reason !== undefined) return skip(reading, line, reason)
  into.push(parsed.rule)
}

function readAlias(reading: Reading, line: Line): void {
  const parsed = parseAliasLine(line)
  if ('reason' in parsed) skip(reading, line, parsed.reason)
  else reading.file.aliases.set(asciiLower(parsed.alias.name), parsed.alias)
}

function readContent(reading: Reading, line: Line, section: Section): void {
  const { file, kind } = reading
  const content = line.text.slice(line.from, line.to)
  switch (section.name) {
    case 'none':
      return skip(reading, line, 'skip line - no section')
    case 'options': {
      const option = parseOption(content, OPTION_KIND[kind])
      if (option === undefined) return skip(reading, line, `can't parse option '${content}'`)
      file.options[option.key] = option.value
      return
    }
    case 'aliases':
      return readAlias(reading, line)
    case 'ipset':
      section.set.entries.push(parseSetLine(line, reading.scope, section.seen))
      return
    case 'rules':
      return readRule(reading, line, file.rules, kind)
    case 'group':
      return readRule(reading, line, section.group.rules, 'group')
  }
}

/** The header of a line, if this kind of file honours its section; else the line is content, as upstream has it. */
function honoured(line: Line, kind: FileKind): Header | undefined {
  if (line.text.charAt(line.from) !== '[') return undefined
  const header = parseHeader(line.text.slice(line.from, line.to))
  if (header === undefined) return undefined
  return SECTIONS[kind].includes('error' in header ? header.of : header.section) ? header : undefined
}

/**
 * Reads a .fw file as pve-firewall does. `bytes` is the file as a latin1 string, one character per byte. Never throws:
 * what upstream skips with a warning is in `skipped`, what it keeps but never compiles has `errors`. Blank lines and lines
 * that begin with `#` leave no trace. Aliases and ipsets count from the line below their definition.
 * For guests, hosts and VNETs `context.cluster` is cluster.fw, already read; for cluster.fw itself it is ignored.
 */
export function readFw(bytes: string, kind: FileKind, context: ReadContext): FwFile {
  const reading = begin(kind, context)
  let section: Section = { name: 'none' }
  for (const line of lines(bytes)) {
    if (skipBlanks(line.text, line.from, line.to) === line.to || line.text.charAt(line.from) === '#') continue
    const header = honoured(line, kind)
    if (header === undefined) readContent(reading, line, section)
    else if ('error' in header) {
      skip(reading, line, header.error)
      section = { name: 'none' }
    } else section = open(reading, header)
  }
  return reading.file
}
