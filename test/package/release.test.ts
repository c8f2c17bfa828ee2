// A release from its web server: one line installs it, an upgrade follows it, a forged one is refused, removal leaves nothing.
import { appendFile, cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OLD_VERSION, VERSION } from './debs.ts'
import { createMachine, type Machine } from './machine.ts'
import { suites } from './root.ts'

const PORT = 8099
const SERVER = resolve('test/package/serve.mjs')
const scratch = await mkdtemp(join(tmpdir(), 'pvenat-release-'))
const env = { GNUPGHOME: join(scratch, 'gnupg') }
afterAll(async () => {
  await execa('gpgconf', ['--kill', 'all'], { env, reject: false })
  await rm(scratch, { recursive: true, force: true })
})

/** Runs `npm run release` in a clone with these changes of text, as of a day; gives the folder to serve. */
async function release(name: string, changes: Readonly<Record<string, string>>): Promise<string> {
  const folder = join(scratch, name)
  await execa('git', ['clone', '--quiet', '.', folder])
  for (const file of ['package.json', 'package-lock.json', 'CHANGELOG.md']) {
    let text = await readFile(join(folder, file), 'utf8')
    for (const [from, to] of Object.entries(changes)) text = text.replace(from, to)
    await writeFile(join(folder, file), text)
  }
  const git = ['-c', 'user.name=test', '-c', 'user.email=test@pvenat.invalid', 'commit', '--quiet', '-am']
  await execa('git', [...git, 'Release'], { cwd: folder })
  await symlink(resolve('node_modules'), join(folder, 'node_modules'))
  const words = ['--key', 'test@pvenat.invalid', '--base', `http://127.0.0.1:${PORT}`]
  await execa('npm', ['run', 'release', '--', ...words], { cwd: folder, env })
  return join(folder, 'dist/release')
}

const DATED = { [`## ${VERSION} (unreleased)`]: `## ${VERSION} (2026-02-01)` }
const OLDER = { [VERSION]: OLD_VERSION, [`## ${OLD_VERSION} (unreleased)`]: `## ${OLD_VERSION} (2026-01-15)` }
let site: string
let oldSite: string
beforeAll(async () => {
  await execa('mkdir', ['-m', '700', env.GNUPGHOME])
  for (const who of ['test@pvenat.invalid', 'stranger@pvenat.invalid']) {
    const words = ['--batch', '--passphrase', '', '--faked-system-time', '20260101T000000!']
    await execa('gpg', [...words, '--quick-generate-key', who, 'ed25519', 'sign', 'never'], { env })
  }
  site = await release('new', DATED)
  oldSite = await release('old', OLDER)
})

test('a release is the same bytes each time, and signed', async () => {
  const other = await release('again', DATED)
  const { stdout } = await execa('diff', ['-r', site, other], { reject: false })
  expect(stdout).toBe('')
  await execa('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: site })
  await execa('gpg', ['--verify', 'SHA256SUMS.asc', 'SHA256SUMS'], { cwd: site, env })
  const bill = JSON.parse(await readFile(join(site, `pvenat_${VERSION}.spdx.json`), 'utf8')) as {
    packages: { name: string }[]
  }
  expect(bill.packages.map(({ name }) => name)).toEqual(expect.arrayContaining(['pvenat', 'chokidar', 'ini']))
  expect(await readFile(join(site, 'RELEASE-NOTES.md'), 'utf8')).toContain(`# pvenat ${VERSION} (2026-02-01)`)
})

test('the demo of a release runs where there is no npm', async () => {
  await execa('tar', ['-xzf', join(site, `pvenat-demo_${VERSION}.tar.gz`), '-C', scratch])
  const { stdout } = await execa('sh', ['install/demo.sh'], {
    cwd: join(scratch, `pvenat-demo_${VERSION}`),
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
  expect(stdout).toMatch(/demo: every step was seen to work$/)
})

describe.each(suites)('on %s', (suite) => {
  let machine: Machine
  let before: string
  const get = (...words: string[]) => machine.debian.run('sh', '/srv/site/get.sh', ...words)
  /** Runs get.sh while a folder is served. */
  const getFrom = async (folder: string, ...words: string[]) => {
    const server = machine.lab.spawn('pve', [process.execPath, SERVER, folder, String(PORT)])
    await server.says(/listening/)
    const { exitCode, stdout, stderr } = await get(...words)
    await server.stop()
    return { exitCode, said: `${stdout}\n${stderr}` }
  }
  const version = async () =>
    (await machine.debian.run('dpkg-query', '-W', '-f', '${db:Status-Status} ${Version}', 'pvenat')).stdout
  const fileList = () =>
    machine.debian
      .sh(`find / -xdev \\( -path /proc -o -path /srv -o -path /run -o -path /tmp -o -path /dev -o -path /var/log \\
  -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/tmp -o -path /etc/pve -o -name .updated \\) -prune \\
  -o \\( -not -type d -o -not -path '/var/lib/systemd*' \\) -printf '%y %m %u:%g %p %l\\n' | sort`)

  beforeAll(async () => {
    machine = await createMachine(suite, { site, old: oldSite })
    await machine.debian.sh(
      `printf '#!/bin/sh\\necho pve-manager/8.4.1/x\\n' >/usr/bin/pveversion; chmod +x /usr/bin/pveversion`,
    )
    before = await fileList()
  })
  afterAll(() => machine.stop())

  test('it tells first and touches nothing, and refuses a machine that is no node', async () => {
    const { exitCode, stdout } = await get('--dry-run')
    expect(exitCode, stdout).toBe(0)
    expect(stdout).toMatch(/would install pvenat .*\nnothing was touched$/s)
    await machine.debian.sh('mv /usr/bin/pveversion /usr/bin/pveversion.away')
    expect(await get()).toMatchObject({ exitCode: 1 })
    await machine.debian.sh('mv /usr/bin/pveversion.away /usr/bin/pveversion')
    expect(await fileList()).toBe(before)
  })

  test('one line installs it, and the next release comes as an upgrade', async () => {
    const first = await getFrom(oldSite)
    expect(first.exitCode, first.said).toBe(0)
    expect(await version()).toBe(`installed ${OLD_VERSION}`)
    expect(await machine.debian.property('pvenat', 'ActiveState')).toBe('active')
    const next = await getFrom(site)
    expect(next.exitCode, next.said).toBe(0)
    expect(await version()).toBe(`installed ${VERSION}`)
  })

  test('a repository with another signature, or packages that were changed, is refused', async () => {
    const forged = join(scratch, `forged-${suite}`)
    await cp(oldSite, forged, { recursive: true })
    const stable = join(forged, 'apt/dists/stable')
    const words = ['--batch', '--yes', '--local-user', 'stranger@pvenat.invalid', '--clear-sign']
    await execa('gpg', [...words, '--output', join(stable, 'InRelease'), join(stable, 'Release')], { env })
    expect(await getFrom(forged)).toMatchObject({
      exitCode: 1,
      said: expect.stringContaining('cannot be used') as string,
    })
    await cp(site, forged, { recursive: true, force: true })
    await appendFile(join(forged, `apt/pool/main/p/pvenat/pvenat_${VERSION}_all.deb`), 'x')
    await machine.debian.sh('apt-get -y -q remove pvenat; apt-get clean')
    expect(await getFrom(forged)).toMatchObject({ exitCode: 1 })
    expect(await version()).not.toContain('installed')
  })

  test('removal leaves nothing', async () => {
    const back = await getFrom(site)
    expect(back.exitCode, back.said).toBe(0)
    const gone = await getFrom(site, '--remove')
    expect(gone.exitCode, gone.said).toBe(0)
    expect(await fileList()).toBe(before)
  })
})
