// Makes dist/demo: the demo as one program, and beside it the programs that the lab starts.
import { build } from 'esbuild'
import { copyFileSync, mkdirSync } from 'node:fs'

// Two folders down, as test/lab is: from there the lab finds the fixtures and the agent.
mkdirSync('dist/demo', { recursive: true })
for (const name of ['agent.mjs', 'pvetools.mjs']) copyFileSync(`test/lab/${name}`, `dist/demo/${name}`)
await build({
  entryPoints: ['test/demo/demo.ts'],
  outfile: 'dist/demo/demo.mjs',
  bundle: true,
  platform: 'node',
  target: 'node18.19',
  format: 'esm',
  // Packages in CommonJS form ask for Node's own modules by require.
  banner: {
    js: "import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)",
  },
  preserveSymlinks: true,
  logLevel: 'warning',
})
