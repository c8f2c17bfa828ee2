// Makes dist/pvenat.cjs, one file with all dependencies inside, for Debian's Node.js of PVE 8 and 9; and beside it
// man pages, completions, the licenses of all that is in it, and a bill of materials.
import { execFileSync } from 'node:child_process'
import { build } from 'esbuild'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { billOf, copyrightOf } from './copyright.mjs'

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))

// The page of `pvenat web` goes in as text: nothing of it is read or made at run time.
const folder = 'src/web/page'
const minified = { bundle: true, minify: true, write: false, target: ['chrome109', 'firefox115', 'safari16'] }
const [script, style] = await Promise.all(
  ['main.ts', 'page.css'].map(async (name) => {
    const { outputFiles } = await build({ ...minified, entryPoints: [`${folder}/${name}`], format: 'iife' })
    return outputFiles[0].text
  }),
)
const [html, icon] = ['page.html', 'icon.svg'].map((name) => readFileSync(`${folder}/${name}`, 'utf8'))

const { metafile } = await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/pvenat.cjs',
  bundle: true,
  platform: 'node',
  target: 'node18.19',
  format: 'cjs',
  banner: { js: '#!/usr/bin/env node' },
  define: {
    PVENAT_VERSION: JSON.stringify(version),
    PVENAT_PAGE: JSON.stringify({ html, script, style, icon }),
  },
  // Else a linked node_modules would put its own place into the comments of the file.
  preserveSymlinks: true,
  metafile: true,
  logLevel: 'warning',
})
chmodSync('dist/pvenat.cjs', 0o755)
const date = Number(process.env.SOURCE_DATE_EPOCH ?? Math.floor(Date.now() / 1000))
writeFileSync('dist/copyright', copyrightOf(Object.keys(metafile.inputs)))
writeFileSync('dist/pvenat.spdx.json', billOf(Object.keys(metafile.inputs), version, date))

// Man pages and completions, made of the same table of commands as the command line.
await build({
  entryPoints: ['install/pages/pages.ts'],
  outfile: 'dist/pages/pages.mjs',
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  logLevel: 'warning',
})
execFileSync(process.execPath, ['dist/pages/pages.mjs', version, String(date)], { stdio: 'inherit' })
