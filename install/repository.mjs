// A static apt repository of the packages: a folder that any web server serves.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'

const ARCHITECTURES = ['amd64', 'arm64']

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** Runs gpg with a key of the caller's keyring, at a given time, so that the same input gives the same signature. */
function sign(key, seconds, ...words) {
  const options = ['--batch', '--yes', '--local-user', key, '--digest-algo', 'SHA256']
  execFileSync('gpg', [...options, '--faked-system-time', `${seconds}!`, ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

/** Writes FILE.asc, a detached signature in armour. */
export function signDetached(file, key, seconds) {
  sign(key, seconds, '--armor', '--output', `${file}.asc`, '--detach-sign', file)
}

/** The public half of a key, as the file that apt's `Signed-By` names. */
export function publicKey(key) {
  return execFileSync('gpg', ['--batch', '--export', key])
}

/** Lays the repository of these packages into `folder`: pool, indices by hash, and a signed InRelease. */
export function writeRepository(folder, debs, key, seconds) {
  const suite = join(folder, 'dists/stable')
  const entries = debs.map((deb) => {
    const pool = `pool/main/p/pvenat/${basename(deb)}`
    mkdirSync(dirname(join(folder, pool)), { recursive: true })
    copyFileSync(deb, join(folder, pool))
    const control = execFileSync('dpkg-deb', ['--field', deb], { encoding: 'utf8' }).trimEnd()
    const bytes = readFileSync(deb)
    const text = `${control}\nFilename: ${pool}\nSize: ${statSync(deb).size}\nSHA256: ${sha256(bytes)}\n`
    return { text, for: /^Architecture: (.*)$/m.exec(control)[1] }
  })
  const sums = ARCHITECTURES.flatMap((architecture) => {
    const fitting = entries.filter((entry) => ['all', architecture].includes(entry.for))
    const packages = Buffer.from(fitting.map(({ text }) => text).join('\n'))
    return [
      ['Packages', packages],
      ['Packages.gz', gzipSync(packages, { level: 9 })],
    ].map(([name, bytes]) => {
      const place = `main/binary-${architecture}`
      const byHash = join(suite, place, 'by-hash/SHA256')
      mkdirSync(byHash, { recursive: true })
      writeFileSync(join(byHash, sha256(bytes)), bytes)
      writeFileSync(join(suite, place, name), bytes)
      return ` ${sha256(bytes)} ${bytes.length} ${place}/${name}\n`
    })
  })
  const date = new Date(seconds * 1000).toUTCString().replace('GMT', 'UTC')
  const fields = [
    'Origin: pvenat',
    'Label: pvenat',
    'Suite: stable',
    'Codename: stable',
    `Date: ${date}`,
    `Architectures: ${ARCHITECTURES.join(' ')}`,
    'Components: main',
    'Acquire-By-Hash: yes',
    'SHA256:',
  ]
  const release = join(suite, 'Release')
  writeFileSync(release, `${fields.join('\n')}\n${sums.join('')}`)
  sign(key, seconds, '--output', join(suite, 'InRelease'), '--clear-sign', release)
}
