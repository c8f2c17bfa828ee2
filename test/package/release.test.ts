// A release from its web server: one line installs it, an upgrade follows it, a forged one is refused, removal leaves nothing.
import { appendFile, cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OLD_VERSION, VERSION } from './debs.ts'
import { createMachine, SAYS_PVE, type Machine } from './machine.ts'
import { suites } from './root.ts'
import { Releases, serving, STRANGER } from './site.ts'

let releases: Releases
let site: string
let oldSite: string
beforeAll(async () => {
  releases = await Releases.create()
  site = await releases.make('new')
  oldSite = await releases.makeOld('old')
})
afterAll(() => releases.remove())

test('a release is the same bytes each time, and signed', async () => {
  const other = await releases.make('again')
  const { stdout } = await execa('diff', ['-r', site, other], { reject: false })
  expect(stdout).toBe('')
  await execa('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: site })
  await execa('gpg', ['--verify', 'SHA256SUMS.asc', 'SHA256SUMS'], { cwd: site, env: releases.env })
  const bill = JSON.parse(await readFile(join(site, `pvenat_${VERSION}.spdx.json`), 'utf8')) as {
    packages: { name: string }[]
  }
  expect(bill.packages.map(({ name }) => name)).toEqual(expect.arrayContaining(['pvenat', 'chokidar', 'ini']))
  expect(await readFile(join(site, 'RELEASE-NOTES.md'), 'utf8')).toContain(`# pvenat ${VERSION} (2026-02-01)`)
})

test('the demo of a release runs where there is no npm', async () => {
  await execa('tar', ['-xzf', join(site, `pvenat-demo_${VERSION}.tar.gz`), '-C', releases.folder])
  const { stdout } = await execa('sh', ['install/demo.sh'], {
    cwd: join(releases.folder, `pvenat-demo_${VERSION}`),
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
  expect(stdout).toMatch(/demo: every step was seen to work$/)
})

describe.each(suites)('on %s', (suite) => {
  let machine: Machine
  let before: string
  const get = (...words: string[]) => machine.debian.run('sh', '/srv/site/get.sh', ...words)
  /** Runs get.sh while a folder is served. */
  const getFrom = (folder: string, ...words: string[]) =>
    serving(machine.lab, folder, async () => {
      const { exitCode, stdout, stderr } = await get(...words)
      return { exitCode, said: `${stdout}\n${stderr}` }
    })
  const version = async () =>
    (await machine.debian.run('dpkg-query', '-W', '-f', '${db:Status-Status} ${Version}', 'pvenat')).stdout
  const fileList = () =>
    machine.debian
      .sh(`find / -xdev \\( -path /proc -o -path /srv -o -path /run -o -path /tmp -o -path /dev -o -path /var/log \\
  -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/tmp -o -path /etc/pve -o -name .updated \\) -prune \\
  -o \\( -not -type d -o -not -path '/var/lib/systemd*' \\) -printf '%y %m %u:%g %p %l\\n' | sort`)

  beforeAll(async () => {
    machine = await createMachine(suite, { site, old: oldSite })
    await machine.debian.sh(SAYS_PVE)
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
    const forged = join(releases.folder, `forged-${suite}`)
    await cp(oldSite, forged, { recursive: true })
    const stable = join(forged, 'apt/dists/stable')
    const words = ['--batch', '--yes', '--local-user', STRANGER, '--clear-sign']
    const files = ['--output', join(stable, 'InRelease'), join(stable, 'Release')]
    await execa('gpg', [...words, ...files], { env: releases.env })
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
