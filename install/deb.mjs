// Makes dist/pvenat_VERSION_all.deb with Debian's own tools: the same bytes from the same commit, wherever it is cloned.
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { debianChangelog, sectionOf } from './changelog.mjs'

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
const changelog = readFileSync('CHANGELOG.md', 'utf8')
const seconds = Number(process.env.SOURCE_DATE_EPOCH ?? releaseSeconds() ?? commitSeconds())
process.env.SOURCE_DATE_EPOCH = String(seconds)
await import('./build.mjs')

const stage = `dist/deb/pvenat-${version}`
rmSync('dist/deb', { recursive: true, force: true })
mkdirSync(stage, { recursive: true })
cpSync('debian', `${stage}/debian`, { recursive: true })
writeFileSync(`${stage}/debian/changelog`, debianChangelog(changelog, seconds))
copyFileSync('dist/copyright', `${stage}/debian/copyright`)
copyFileSync('install/pvenat.conf', `${stage}/pvenat.conf`)
for (const made of ['man', 'completions']) cpSync(`dist/${made}`, `${stage}/${made}`, { recursive: true })
cpSync('docs', `${stage}/docs`, { recursive: true, filter: (path) => path !== 'docs/man' })
copyFileSync('README.md', `${stage}/README.md`)
copyFileSync('install/start.sh', `${stage}/start`)
chmodSync(`${stage}/start`, 0o755)
const bundle = readFileSync('dist/pvenat.cjs', 'utf8')
writeFileSync(`${stage}/pvenat`, bundle.replace('#!/usr/bin/env node', '#!/usr/lib/pvenat/start'))
chmodSync(`${stage}/pvenat`, 0o755)

// Nothing is compiled, so the compilers that Debian takes for granted (build-essential) may be missing.
execFileSync('dpkg-buildpackage', ['--build=binary', '--no-sign', '--no-check-builddeps'], {
  cwd: stage,
  stdio: ['ignore', 'ignore', 'inherit'],
})
const name = `pvenat_${version}_all.deb`
copyFileSync(`dist/deb/${name}`, `dist/${name}`)
process.stdout.write(`dist/${name}\n`)

/** Midnight (UTC) before the day on which the CHANGELOG says that the version came out. */
function releaseSeconds() {
  const { date } = sectionOf(changelog, version)
  return date === undefined ? undefined : Date.parse(`${date}T00:00:00Z`) / 1000
}

function commitSeconds() {
  return execFileSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' }).trim()
}
