/** The commands that the documents tell people to type. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Every document for people, by path. */
export const documents: readonly string[] = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...['docs', 'docs/man'].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  ),
]

interface DocumentBlock {
  language: string
  text: string
}

/** The fenced blocks of a markdown document, in order. */
export function blocksOf(path: string): DocumentBlock[] {
  const text = readFileSync(path, 'utf8')
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', body = '']) => ({
    language,
    text: body,
  }))
}

/** The commands of a document's blocks for the shell, one a line, comments left out. */
export function commandsOf(path: string): string[] {
  return blocksOf(path)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.split('\n'))
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '')
}
