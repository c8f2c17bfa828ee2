// install.sh on a machine that looks like a Proxmox VE node: what it refuses, what it tells, and that it may run again.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { snapshot } from '../lab/index.ts'
import { VERSION } from './debs.ts'
import { createMachine, type Machine } from './machine.ts'
import { ARCHIVES } from './root.ts'

const DEB = `/srv/new/pvenat_${VERSION}_all.deb`

let machine: Machine
beforeAll(async () => {
  machine = await createMachine('bookworm', { new: 'dist', install: 'install' })
})
afterAll(() => machine.stop())

const install = (...words: string[]) => machine.debian.run('sh', '/srv/install/install.sh', ...words)
const isInstalled = async () => (await machine.debian.run('dpkg', '-s', 'pvenat')).exitCode === 0

test('it refuses a machine that is no node, a node that is too old, and a command line that makes no sense', async () => {
  expect(await install(DEB)).toMatchObject({ exitCode: 3 })
  await machine.debian.sh(
    `printf '#!/bin/sh\\necho pve-manager/7.4-3/x\\n' >/usr/bin/pveversion; chmod +x /usr/bin/pveversion`,
  )
  expect(await install(DEB)).toMatchObject({ exitCode: 3 })
  await machine.debian.sh(`printf '#!/bin/sh\\necho pve-manager/8.4.1/x\\n' >/usr/bin/pveversion`)
  expect(await install('--frobnicate')).toMatchObject({ exitCode: 2 })
  expect(await install('/bin/sh')).toMatchObject({ exitCode: 2 })
  const nobody = ['setpriv', '--reuid', '65534', '--clear-groups', 'sh', '/srv/install/install.sh', DEB]
  expect(await machine.debian.run(...nobody)).toMatchObject({ exitCode: 4 })
  expect(await isInstalled()).toBe(false)
})

test('--dry-run tells what would come, and touches nothing', async () => {
  const before = await snapshot(machine.lab)
  const { exitCode, stdout } = await install('--dry-run', DEB)
  expect(exitCode).toBe(0)
  expect(stdout).toContain(`would install pvenat ${VERSION}`)
  expect(stdout).toContain('203.0.113.2')
  expect(stdout).toMatch(/:8080\/tcp.*10\.10\.10/)
  expect(stdout).toMatch(/nothing was touched\nchanged$/)
  expect(await isInstalled()).toBe(false)
  expect(await snapshot(machine.lab)).toBe(before)
})

test('it installs, tells what it found, and the second time changes nothing', async () => {
  await machine.debian.sh('install -m 755 /bin/true /usr/local/sbin/pvenat')
  const { exitCode, stdout } = await install(DEB)
  expect(exitCode, stdout).toBe(0)
  expect(stdout).toMatch(/:8080\/tcp.*10\.10\.10/)
  expect(stdout).toMatch(/changed$/)
  expect(await machine.debian.property('pvenat', 'ActiveState')).toBe('active')
  expect((await machine.debian.sh('command -v pvenat')).trim()).toBe('/usr/sbin/pvenat')
  expect(await install('--quiet', DEB)).toMatchObject({ exitCode: 0, stdout: 'unchanged', stderr: '' })
})

test('on a node without Node.js and without a network --dry-run says why it cannot show more', async () => {
  await machine.debian.sh(`dpkg --purge pvenat; dpkg --purge --force-depends nodejs
echo 'Acquire::http::Proxy "http://127.0.0.1:9";' >/etc/apt/apt.conf.d/nowhere`)
  const before = await snapshot(machine.lab)
  const { exitCode, stdout } = await install('--dry-run', DEB)
  expect(exitCode).toBe(0)
  expect(stdout).toContain(`would install pvenat ${VERSION}`)
  expect(stdout).toMatch(/^there is no Node\.js here: Debian's \S+ comes along, about 100 MB$/m)
  expect(stdout).toMatch(
    /there is no Node.js here: it is fetched for this look.*\nwhat would be in force cannot be shown/s,
  )
  expect(stdout).toMatch(/nothing was touched\nchanged$/)
  expect(await snapshot(machine.lab)).toBe(before)
  expect(await machine.debian.sh('ls /tmp')).toBe('\n')
})

test('where Node.js can be fetched --dry-run shows what would be in force, and takes it away again', async () => {
  await machine.debian.sh(`rm /etc/apt/apt.conf.d/nowhere /etc/apt/sources.list
dpkg --purge --force-depends $(dpkg-query -W -f '\${Package}\n' 'node*' 'libnode*')
echo 'deb [trusted=yes] copy:${ARCHIVES} ./' >/etc/apt/sources.list.d/own.list
apt-get -q update`)
  const { exitCode, stdout } = await install('--dry-run', DEB)
  expect(exitCode).toBe(0)
  expect(stdout).toMatch(
    /it is fetched for this look.*:8080\/tcp.*10\.10\.10.*\nnothing was touched\nchanged$/s,
  )
  expect((await machine.debian.run('sh', '-c', 'command -v node')).stdout).toBe('')
  expect(await machine.debian.sh('ls /tmp')).toBe('\n')
})
