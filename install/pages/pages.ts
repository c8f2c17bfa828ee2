/** Writes dist/man, dist/pages and dist/completions; the build runs it. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bashCompletion, zshCompletion } from './completions.ts'
import { manPage, pageText } from './man.ts'

const [version = '', dateSeconds = ''] = process.argv.slice(2)
const comment = readFileSync('docs/comment.md', 'utf8')
const settings = readFileSync('install/pvenat.conf', 'utf8')

for (const folder of ['dist/man', 'dist/pages', 'dist/completions']) mkdirSync(folder, { recursive: true })
writeFileSync('dist/completions/pvenat', bashCompletion())
writeFileSync('dist/completions/_pvenat', zshCompletion())
for (const name of readdirSync('docs/man')) {
  const source = readFileSync(join('docs/man', name), 'utf8')
  const texts = { source, comment, settings, version, dateSeconds: Number(dateSeconds) }
  writeFileSync(join('dist/man', name.replace(/\.md$/, '')), manPage(texts))
  // For the demo, where man may not be installed.
  writeFileSync(join('dist/pages', name), pageText(texts))
}
