// A release from its web server: one line installs it, an upgrade follows it, a forged one is refused, removal leaves nothing.
import { appendFile, cp, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { waitFor } from '../lab/index.ts'
import { OLD_VERSION, VERSION } from './debs.ts'
import { createMachine, SAYS_PVE, SHOP, withoutInterruption, type Machine } from './machine.ts'
import { ARCHIVES, suites } from './root.ts'
import { Releases, serving, STRANGER } from './site.ts'

let releases: Releases
let site: string
let again: string
let oldSite: string
beforeAll(async () => {
  releases = await Releases.create()
  site = await releases.make('new')
  again = await releases.make('again')
  oldSite = await releases.makeOld('old', site)
})
afterAll(() => releases.remove())

test('a release is the same bytes each time, and signed', async () => {
  const { stdout } = await execa('diff', ['-r', site, again], { reject: false })
  expect(stdout).toBe('')
  await execa('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: site })
  await execa('gpg', ['--verify', 'SHA256SUMS.asc', 'SHA256SUMS'], { cwd: site, env: releases.env })
  const bill = JSON.parse(await readFile(join(site, `pvenat_${VERSION}.spdx.json`), 'utf8')) as {
    packages: { name: string }[]
  }
  expect(bill.packages.map(({ name }) => name)).toEqual(expect.arrayContaining(['pvenat', 'chokidar', 'ini']))
  expect(await readFile(join(site, 'RELEASE-NOTES.md'), 'utf8')).toContain(`# pvenat ${VERSION} (2026-02-01)`)
})

// It looks through a program of 107 MB.
test(
  'the package of Node.js holds one program, and lintian is told why about the rest',
  { timeout: 120_000 },
  async () => {
    const [deb = ''] = (await readdir(site)).filter((name) => /^pvenat-nodejs_.*_amd64\.deb$/.test(name))
    const file = join(site, deb)
    const { stdout } = await execa('dpkg-deb', ['--contents', file])
    expect(stdout.match(/^-.*$/gm)?.map((line) => line.replace(/^(\S+) .* \.\//, '$1 '))).toEqual([
      '-rwxr-xr-x usr/lib/pvenat/node',
      '-rw-r--r-- usr/share/doc/pvenat-nodejs/changelog.gz',
      '-rw-r--r-- usr/share/doc/pvenat-nodejs/copyright',
      '-rw-r--r-- usr/share/lintian/overrides/pvenat-nodejs',
    ])
    expect((await execa('lintian', ['--allow-root', '--fail-on', 'none', file])).stdout).toBe('')
    // get.sh says the size beforehand.
    const packed = Math.round((await stat(file)).size / 1e6)
    const unpacked = Number((await execa('dpkg-deb', ['--field', file, 'Installed-Size'])).stdout)
    expect(await readFile(join(site, 'get.sh'), 'utf8')).toContain(
      `${packed} MB to fetch, ${Math.round((unpacked * 1024) / 1e6)} MB installed`,
    )
  },
)

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
    machine = await createMachine(suite, { site, old: oldSite, install: 'install' })
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
    await machine.debian.sh(`apt-get -y -q remove pvenat; rm ${ARCHIVES}/pvenat_*`)
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

  describe('without Debian’s Node.js', () => {
    const DEBIANS = `$(dpkg-query -W -f '\${Package} ' 'node*' 'libnode*')`
    const ask = () => machine.lab.ask('inet', 'tcp', SHOP.endpoint, { timeoutMs: 200 })
    const program = async () =>
      machine.debian.sh(`readlink "/proc/$(systemctl show --value -p MainPID pvenat)/exe"`)
    let bare: string

    beforeAll(async () => {
      await machine.lab.serve(SHOP.server, 'tcp', 80)
      await machine.debian.sh(`dpkg --purge --force-depends ${DEBIANS}
rm -f /etc/apt/sources.list; echo 'deb [trusted=yes] copy:${ARCHIVES} ./' >/etc/apt/sources.list.d/own.list
apt-get -q update`)
      bare = await fileList()
    })

    test('it says that there are two, and installs the one of its own when it is told to', async () => {
      expect((await get('--dry-run')).stdout).toMatch(/^there is no Node\.js here.*\nwith --standalone, /m)
      const { exitCode, said } = await getFrom(site, '--standalone')
      expect(exitCode, said).toBe(0)
      expect((await machine.debian.run('test', '-e', '/usr/bin/node')).exitCode).toBe(1)
      expect((await program()).trim()).toBe('/usr/lib/pvenat/node')
      await waitFor(async () => typeof (await ask()) === 'object')
      const script = ['sh', '/srv/install/install.sh', '--dry-run', `/srv/site/pvenat_${VERSION}_all.deb`]
      expect(await machine.debian.must(...script)).toMatch(
        /^Node\.js \S+, of pvenat-nodejs$.*:8080\/tcp.*^unchanged$/ms,
      )
    })

    test('Debian’s takes its place and the other way round, and NAT stays in force', async () => {
      const { debian, lab } = machine
      await withoutInterruption(lab, () => debian.sh('apt-get -y -q install nodejs pvenat-nodejs-'))
      expect((await program()).trim()).toBe('/usr/bin/node')
      await withoutInterruption(lab, () =>
        serving(lab, site, () => debian.sh(`apt-get -y -q install pvenat-nodejs; dpkg --purge ${DEBIANS}`)),
      )
      expect((await program()).trim()).toBe('/usr/lib/pvenat/node')
      expect((await debian.sh('systemctl is-active pvenat')).trim()).toBe('active')
    })

    test('removal leaves nothing of both packages', async () => {
      const { exitCode, said } = await getFrom(site, '--remove')
      expect(exitCode, said).toBe(0)
      expect(await machine.debian.sh('iptables-save')).not.toContain('PVENAT')
      expect(await fileList()).toBe(bare)
    })
  })
})
