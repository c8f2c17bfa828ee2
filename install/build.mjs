// Makes dist/pvenat.cjs: one file with all dependencies inside, for Debian's Node.js of PVE 8 and 9.
import { build } from 'esbuild'
import { chmodSync, readFileSync } from 'node:fs'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/pvenat.cjs',
  bundle: true,
  platform: 'node',
  target: 'node18.19',
  format: 'cjs',
  banner: { js: '#!/usr/bin/env node' },
  define: { PVENAT_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
})
chmodSync('dist/pvenat.cjs', 0o755)
