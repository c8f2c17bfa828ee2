// Makes dist/pvenat.cjs, one file with all dependencies inside, for Debian's Node.js of PVE 8 and 9; and beside it
// man pages, completions, the licenses of all that is in it, and a bill of materials.
import { execFileSync } from 'node:child_process'
import { build, transform } from 'esbuild'
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { compile } from 'tailwindcss'
import { billOf, copyrightOf } from './copyright.mjs'

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))

// The page of `pvenat web` goes in as text: nothing of it is read or made at run time.
const folder = 'src/web/page'
const browsers = { minify: true, target: ['chrome123', 'firefox128', 'safari17.5'] }
const page = await build({
  ...{
    ...browsers,
    bundle: true,
    write: false,
    format: 'iife',
    metafile: true,
    entryPoints: [`${folder}/main.tsx`],
  },
})
const script = page.outputFiles[0].text
const { code: style } = await transform(await styleSheet(), { ...browsers, loader: 'css' })

/** Tailwind's utilities that the style sheet and the sources of the page name. Words that are none are ignored. */
async function styleSheet() {
  const loadStylesheet = (id) => {
    const path = createRequire(import.meta.url).resolve(id === 'tailwindcss' ? 'tailwindcss/index.css' : id)
    return { path, base: folder, content: readFileSync(path, 'utf8') }
  }
  const sheet = await compile(readFileSync(`${folder}/page.css`, 'utf8'), { base: folder, loadStylesheet })
  const sources = readdirSync(folder).filter((name) => /\.tsx?$/.test(name))
  return sheet.build(sources.flatMap((name) => readFileSync(`${folder}/${name}`, 'utf8').split(/[\s'"`]+/)))
}
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
const inputs = [...Object.keys({ ...metafile.inputs, ...page.metafile.inputs }), 'node_modules/tailwindcss/']
writeFileSync('dist/copyright', copyrightOf(inputs))
writeFileSync('dist/pvenat.spdx.json', billOf(inputs, version, date))

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
