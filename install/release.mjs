// Makes what a release consists of, in dist/release: a folder that any web server serves. Tags and pushes nothing.
//   npm run release -- --key KEY [--base URL]
// KEY is a secret key in the keyring of gpg. URL is where the folder will be served (default: install/project.mjs).
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { sectionOf } from './changelog.mjs'
import { BASE } from './project.mjs'
import { publicKey, signDetached, writeRepository } from './repository.mjs'

const OUT = 'dist/release'
const read = (file) => readFileSync(file, 'utf8')

function release() {
  const { values } = parseArgs({
    options: { key: { type: 'string' }, base: { type: 'string', default: BASE } },
  })
  if (values.key === undefined) throw new Error('expected --key KEY, a secret key that gpg has')
  const { version } = JSON.parse(read('package.json'))
  if (execFileSync('git', ['status', '--porcelain'], { encoding: 'utf8' }) !== '')
    throw new Error('there are changes that are not committed')
  if (JSON.parse(read('package-lock.json')).version !== version)
    throw new Error('package-lock.json has another version')
  const { date, items } = sectionOf(read('CHANGELOG.md'), version)
  if (date === undefined)
    throw new Error(`CHANGELOG.md has no date for ${version}; write: ## ${version} (YYYY-MM-DD)`)
  const seconds = Date.parse(`${date}T00:00:00Z`) / 1000
  process.env.SOURCE_DATE_EPOCH = String(seconds)

  execFileSync('npm', ['run', '--silent', 'deb'], { stdio: ['ignore', 'ignore', 'inherit'] })
  for (const script of ['install/nodejs.mjs', 'install/build-demo.mjs'])
    execFileSync(process.execPath, [script], { stdio: ['ignore', 'ignore', 'inherit'] })
  rmSync(OUT, { recursive: true, force: true })
  mkdirSync(OUT, { recursive: true })
  const nodejs = `pvenat-nodejs_${JSON.parse(read('install/nodejs/package.json')).version}`
  const debs = [`pvenat_${version}_all.deb`, `${nodejs}_amd64.deb`]
  for (const [from, to] of [
    ...debs.map((deb) => [`dist/${deb}`, deb]),
    ['dist/pvenat.cjs', 'pvenat.cjs'],
    ['dist/pvenat.spdx.json', `pvenat_${version}.spdx.json`],
    [`dist/${nodejs}.spdx.json`, `${nodejs}.spdx.json`],
  ])
    copyFileSync(from, join(OUT, to))
  packDemo(`pvenat-demo_${version}`, seconds)
  writeFileSync(
    join(OUT, 'RELEASE-NOTES.md'),
    `# pvenat ${version} (${date})\n\n${items.map((item) => `- ${item}\n`).join('')}`,
  )

  const key = publicKey(values.key)
  writeFileSync(join(OUT, 'pvenat-archive-keyring.gpg'), key)
  writeRepository(
    join(OUT, 'apt'),
    debs.map((deb) => `dist/${deb}`),
    values.key,
    seconds,
  )
  const keySum = createHash('sha256').update(key).digest('hex')
  const script = read('install/get.sh')
    .replace(/^base=.*$/m, `base=${values.base}`)
    .replace(/^key_sum=.*$/m, `key_sum=${keySum}`)
  writeFileSync(join(OUT, 'get.sh'), script)

  const files = readdirSync(OUT)
    .filter((name) => statSync(join(OUT, name)).isFile())
    .sort()
  const sums = files.map(
    (name) =>
      `${createHash('sha256')
        .update(readFileSync(join(OUT, name)))
        .digest('hex')}  ${name}\n`,
  )
  writeFileSync(join(OUT, 'SHA256SUMS'), sums.join(''))
  signDetached(join(OUT, 'SHA256SUMS'), values.key, seconds)
  process.stdout.write(read(join(OUT, 'SHA256SUMS')))
}

/** The demo, built: unpacked anywhere, `sh install/demo.sh` runs it without npm. */
function packDemo(name, seconds) {
  const stage = join('dist', name)
  rmSync(stage, { recursive: true, force: true })
  const parts = [
    'install/demo.sh',
    'install/prepare.sh',
    'dist/pvenat.cjs',
    'dist/demo',
    'dist/completions',
    'dist/man',
    'dist/pages',
    'fixtures/node1',
    'debian/pvenat.service',
    'LICENSE',
  ]
  for (const part of parts) cpSync(part, join(stage, part), { recursive: true, verbatimSymlinks: true })
  const same = [
    '--sort=name',
    `--mtime=@${seconds}`,
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=u=rwX,go=rX',
  ]
  const tar = execFileSync('tar', ['-C', 'dist', ...same, '-c', name], { maxBuffer: 2 ** 28 })
  writeFileSync(
    join(OUT, `${name}.tar.gz`),
    execFileSync('gzip', ['-9n'], { input: tar, maxBuffer: 2 ** 28 }),
  )
  rmSync(stage, { recursive: true })
}

try {
  release()
} catch (error) {
  process.stderr.write(`release: ${error.message}\n`)
  process.exitCode = 1
}
