/** Man pages: markdown of docs/man, with what the table of commands, docs/comment.md and pvenat.conf say put in, as roff. */
import { Marked } from 'marked'
import markedMan from 'marked-man'
import { COMMANDS, COMMON_OPTIONS, type Command, type Option } from '../../src/commands/table.ts'

export interface PageTexts {
  /** The page, with lines like `<!-- commands -->` where something is to be put in. */
  source: string
  /** docs/comment.md. */
  comment: string
  /** The file of settings that is installed. */
  settings: string
  version: string
  /** Seconds since 1970. */
  dateSeconds: number
}

/** One man page as markdown. Throws when docs/comment.md has lost a section that a page takes from it. */
export function pageText({ source, comment, settings }: PageTexts): string {
  const fill = (line: string): string =>
    line.replace(/^<!-- (\w+)(?:: (.+))? -->$/, (_, what: string, title = '') => {
      if (what === 'commands') return Object.entries(COMMANDS).map(commandText).join('\n\n')
      if (what === 'options') return optionsText(COMMON_OPTIONS)
      if (what === 'settings') return '```\n' + settings + '```'
      if (what === 'comment') return sectionOf(comment, title as string)
      throw new Error(`a man page asks for '${what}', which nobody makes`)
    })
  return source.split('\n').map(fill).join('\n')
}

/** One man page as roff. */
export function manPage(texts: PageTexts): string {
  const { version, dateSeconds } = texts
  const options = { ...markedMan, breaks: false, date: dateSeconds * 1000, manVersion: `pvenat ${version}` }
  const roff = new Marked(options).parse(pageText(texts)) as string
  // Tables need the preprocessor tbl, which the first line asks for.
  return `'\\" t\n${roff.trim().replaceAll('&quot;', '"').split('\n').flatMap(makeUnstretched()).join('\n')}\n`
}

/**
 * Nothing that is to be typed may be hyphenated or stretched, in cells of tables neither, which know nothing of the page around
 * them. There a word that is wider than its column breaks behind a sign.
 */
function makeUnstretched(): (line: string) => string[] {
  let isCell = false
  return (line) => {
    if (line.startsWith('.TH ')) return [line, '.nh', '.ad l']
    if (/^T[{}]/.test(line)) {
      isCell = line.endsWith('T{')
      return isCell ? [line, '.nh', '.ad l'] : [line]
    }
    return [isCell ? line.replace(/\S{15,}/g, breakable) : line]
  }
}

function breakable(word: string): string {
  return word.replace(/(?:[:,=]|\\-)(?=[^:,=\\])/g, '$&\\:')
}

function commandText([name, { says, takes, options, examples }]: [string, Command]): string {
  const shown = (examples ?? []).map(({ line, says: why }) => `${line}    # ${why}`)
  return [
    `### pvenat ${name}${takes === undefined ? '' : ` ${takes}`}`,
    `${says[0]?.toUpperCase()}${says.slice(1)}.`,
    ...(options ? [optionsText(options)] : []),
    ...(shown.length > 0 ? ['```\n' + shown.join('\n') + '\n```'] : []),
  ].join('\n\n')
}

function optionsText(options: Readonly<Record<string, Option & { default?: string }>>): string {
  const lines = Object.entries(options).map(([name, { value, says, default: usual }]) => {
    const preset = usual === undefined ? '' : ` (${usual})`
    return `* \`--${name}${value === undefined ? '' : ` ${value}`}\`: ${says}${preset}`
  })
  return lines.join('\n')
}

/** A section of a markdown text without its heading. */
function sectionOf(text: string, title: string): string {
  const [, after] = text.split(`\n## ${title}\n`)
  if (after === undefined)
    throw new Error(`docs/comment.md has no section '${title}', which a man page takes`)
  return (after.split('\n## ')[0] as string).trim()
}
