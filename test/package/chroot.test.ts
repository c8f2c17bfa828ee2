// Where no systemd runs and no Proxmox VE is, as while an image is made: installing does nothing, and says so.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLab, snapshot, type Lab } from '../lab/index.ts'
import { VERSION } from './debs.ts'
import { Debian } from './debian.ts'
import { debianRoot, suites } from './root.ts'

describe.each(suites)('in a %s root', (suite) => {
  let lab: Lab
  let debian: Debian
  beforeAll(async () => {
    lab = await createLab({ guests: [] })
    debian = await Debian.create(lab, await debianRoot(suite), { '/srv/new': 'dist' })
  })
  afterAll(() => lab.stop())

  const scripts = async (...words: string[]) => {
    for (const [name, argument] of words.map((word) => word.split(' ')))
      await debian.sh(`DPKG_MAINTSCRIPT_PACKAGE=pvenat /var/lib/dpkg/info/pvenat.${name} ${argument}`)
  }

  test('it is installed, said to be off, removed and purged; each script may run again', async () => {
    const before = await snapshot(lab)
    const install = `dpkg -i /srv/new/pvenat_${VERSION}_all.deb`
    expect(await debian.sh(install)).toContain('this is no Proxmox VE node: the service stays off')
    await scripts(
      'postinst configure',
      'postinst configure',
      'prerm remove',
      'prerm remove',
      'postinst abort-remove',
    )
    expect((await debian.run('pvenat', 'check')).stderr).toContain('/etc/pve is not mounted')
    await debian.sh('dpkg --remove pvenat')
    await scripts('postrm remove')
    await debian.sh(install)
    await debian.sh('dpkg --purge pvenat')
    expect((await debian.run('sh', '-c', 'ls -d /etc/pvenat /var/lib/pvenat /run/pvenat')).stdout).toBe('')
    expect(await snapshot(lab)).toBe(before)
  })
})
